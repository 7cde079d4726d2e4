"""Teams: who makes them, who works in them, and what counts for them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from apps.core.actor import Actor, system_actor
from apps.events.models import Event
from apps.users.errors import KeyUnknown, OrganizationUnknown, RoleTooLow, TeamInUse, TeamTaken, TeamUnfit
from apps.users.models import ApiKey, Membership, Organization, Team, TeamMembership
from apps.users.selectors import actor_of_user, find_key
from apps.users.selectors.teams import MAX_DEPTH, path_of_person, path_of_team
from apps.users.services.api_keys import KeyTerms, issue_api_key, update_api_key
from apps.users.services.organizations import remove_membership
from apps.users.services.teams import (
    change_team,
    choose_own_team,
    create_team,
    delete_team,
    remove_team_member,
    save_team_member,
)
from tests.factories.users import (
    ApiKeyFactory,
    MembershipFactory,
    OrganizationFactory,
    TeamFactory,
    TeamMembershipFactory,
    UserFactory,
)
from tests.support.threads import run_together

pytestmark = pytest.mark.django_db

TEAMS = "/api/v3/teams"
SYSTEM = system_actor()
INLINES = ("memberships", "api_keys", "children")


def told(kind: str) -> list[dict[str, Any]]:
    return list(Event.objects.filter(type=kind).order_by("id").values_list("payload", flat=True))


def actor_for(membership: Membership) -> Actor:
    return actor_of_user(user=membership.user, organization_id=membership.organization_id)


@pytest.fixture
def admin(member: Membership) -> Membership:
    """Return an administrator of `member`'s organization."""
    return MembershipFactory(organization=member.organization, role="admin")


@pytest.fixture
def team(member: Membership) -> Team:
    """Return a team of `member`'s organization, in which `member` works."""
    return TeamMembershipFactory(membership=member).team


class TestTheTree:
    def test_a_team_lies_within_another(self, admin: Membership) -> None:
        here, actor = admin.organization, actor_for(admin)
        outer = create_team(organization=here, name="Research & Läbs", actor=actor)
        inner = create_team(organization=here, name="Inner", slug="inner", parent=outer, actor=actor)

        assert outer.slug.startswith("research-labs-")
        assert path_of_team(inner.id) == (inner.id, outer.id)
        assert path_of_team(None) == ()
        assert told("team.created") == [{"parent_id": None}, {"parent_id": str(outer.id)}]

    def test_slugs_are_taken_per_organization(self, admin: Membership) -> None:
        actor = actor_for(admin)
        create_team(organization=admin.organization, name="A", slug="same", actor=actor)
        TeamFactory(slug="same")

        with pytest.raises(TeamTaken):
            create_team(organization=admin.organization, name="B", slug="same", actor=actor)
        other = create_team(organization=admin.organization, name="B", actor=actor)
        with pytest.raises(TeamTaken):
            change_team(team=other, slug="same", actor=actor)

    def test_only_so_deep_and_never_in_a_circle(self) -> None:
        organization = OrganizationFactory()
        chain: list[Team] = []
        for name in "abcde":
            parent = chain[-1] if chain else None
            chain.append(create_team(organization=organization, name=name, parent=parent, actor=SYSTEM))
        assert path_of_team(chain[-1].id) == tuple(team.id for team in reversed(chain))
        assert len(chain) == MAX_DEPTH
        with pytest.raises(TeamUnfit, match="at most 5 deep"):
            create_team(organization=organization, name="f", parent=chain[-1], actor=SYSTEM)
        tall = create_team(organization=organization, name="g", actor=SYSTEM)
        create_team(organization=organization, name="h", parent=tall, actor=SYSTEM)
        with pytest.raises(TeamUnfit, match="at most 5 deep"):
            change_team(team=tall, parent=chain[3], actor=SYSTEM)
        with pytest.raises(TeamUnfit, match="within itself"):
            change_team(team=chain[0], parent=chain[2], actor=SYSTEM)
        with pytest.raises(TeamUnfit, match="within itself"):
            change_team(team=chain[0], parent=chain[0], actor=SYSTEM)
        change_team(team=tall, parent=chain[2], actor=SYSTEM)
        change_team(team=tall, parent=None, actor=SYSTEM)

    def test_never_in_another_organization(self, team: Team) -> None:
        stranger = TeamFactory()
        with pytest.raises(TeamUnfit, match="same organization"):
            create_team(organization=team.organization, name="x", parent=stranger, actor=SYSTEM)
        with pytest.raises(TeamUnfit, match="same organization"):
            change_team(team=team, parent=stranger, actor=SYSTEM)

    def test_changes_are_told_by_their_names(self, team: Team) -> None:
        change_team(team=team, name=team.name, actor=SYSTEM)
        assert told("team.changed") == []
        change_team(team=team, name="New", slug="new", actor=SYSTEM)
        assert told("team.changed") == [{"fields": ["name", "slug"]}]

    def test_one_that_others_lie_within_stays(self, team: Team) -> None:
        inner = TeamFactory(organization=team.organization, parent=team)
        with pytest.raises(TeamInUse):
            delete_team(team=team, actor=SYSTEM)
        delete_team(team=inner, actor=SYSTEM)
        delete_team(team=team, actor=SYSTEM)
        assert not Team.objects.exists()
        assert len(told("team.deleted")) == 2

    def test_an_organization_takes_its_teams_along(self, team: Team) -> None:
        TeamFactory(organization=team.organization, parent=team)
        Organization.objects.filter(id=team.organization_id).delete()
        assert not Team.objects.exists()

    @pytest.mark.parametrize("role", ["member", "viewer"])
    def test_only_administrators_of_the_organization(self, team: Team, role: str) -> None:
        actor = actor_for(MembershipFactory(organization=team.organization, role=role))
        elsewhere = actor_for(MembershipFactory(role="owner"))
        for who in (actor, elsewhere):
            with pytest.raises(RoleTooLow):
                create_team(organization=team.organization, name="x", actor=who)
            with pytest.raises(RoleTooLow):
                change_team(team=team, name="x", actor=who)
            with pytest.raises(RoleTooLow):
                delete_team(team=team, actor=who)

    @pytest.mark.django_db(transaction=True)
    def test_two_who_move_teams_into_each_other_make_no_circle(self) -> None:
        first = TeamFactory()
        second = TeamFactory(organization=first.organization)

        moves = iter([(first, second), (second, first)])

        def move() -> Team:
            team, parent = next(moves)
            return change_team(team=team, parent=parent, actor=SYSTEM)

        results = run_together(move, count=2)
        assert sum(isinstance(result, TeamUnfit) for result in results) == 1
        assert Team.objects.filter(parent__isnull=True).count() == 1


class TestMembers:
    def test_a_role_is_given_and_changed(self, team: Team, admin: Membership) -> None:
        actor = actor_for(admin)
        for role in ("member", "member", "admin"):
            save_team_member(team=team, user=admin.user, role=role, actor=actor)
        assert TeamMembership.objects.get(team=team, user=admin.user).role == "admin"
        assert [payload["role"] for payload in told("team.member_added")] == ["member", "admin"]

    def test_only_people_of_the_organization(self, team: Team) -> None:
        with pytest.raises(OrganizationUnknown):
            save_team_member(team=team, user=MembershipFactory().user, role="member", actor=SYSTEM)

    def test_administrators_of_the_team_choose_its_members(self, team: Team, member: Membership) -> None:
        colleague = MembershipFactory(organization=team.organization)
        with pytest.raises(RoleTooLow):
            save_team_member(team=team, user=colleague.user, role="member", actor=actor_for(member))
        TeamMembership.objects.update(role="admin")
        save_team_member(team=team, user=colleague.user, role="member", actor=actor_for(member))
        with pytest.raises(RoleTooLow):
            remove_team_member(team=team, user=member.user, actor=actor_for(colleague))
        other = TeamFactory(organization=team.organization)
        with pytest.raises(RoleTooLow):
            save_team_member(team=other, user=colleague.user, role="member", actor=actor_for(member))

    def test_who_leaves_takes_keys_and_calls_along(self, team: Team, member: Membership) -> None:
        key = ApiKeyFactory(membership=member, team=team)
        Membership.objects.filter(id=member.id).update(team=team)

        for _ in range(2):
            remove_team_member(team=team, user=member.user, actor=actor_for(member))

        key.refresh_from_db()
        member.refresh_from_db()
        assert (key.team, member.team) == (None, None)
        assert told("team.member_removed") == [{"user_id": str(member.user_id)}]

    def test_who_leaves_the_organization_leaves_its_teams(self, team: Team, member: Membership) -> None:
        stays = TeamMembershipFactory(membership=MembershipFactory(user=member.user))
        remove_membership(membership=member, actor=SYSTEM)
        assert list(TeamMembership.objects.all()) == [stays]


class TestWhatCounts:
    def test_a_key_counts_for_a_team_of_its_person(self, team: Team, member: Membership) -> None:
        key, _ = issue_api_key(
            user=member.user,
            organization=member.organization,
            name="x",
            terms=KeyTerms(team=team, parallel_calls=3),
            actor=actor_for(member),
        )
        assert (key.team, key.parallel_calls) == (team, 3)
        update_api_key(key=key, team=None, actor=actor_for(member))
        assert ApiKey.objects.get().team is None
        update_api_key(key=key, team=team, actor=actor_for(member))
        assert ApiKey.objects.get().team == team

    @pytest.mark.parametrize("which", ["not in it", "suspended", "elsewhere"])
    def test_and_for_no_other(self, team: Team, member: Membership, which: str) -> None:
        other = {
            "not in it": lambda: TeamFactory(organization=member.organization),
            "suspended": lambda: TeamMembershipFactory(membership=member, team__is_active=False).team,
            "elsewhere": lambda: TeamMembershipFactory(membership=MembershipFactory(user=member.user)).team,
        }[which]()
        actor, key = actor_for(member), ApiKeyFactory(membership=member)
        with pytest.raises(TeamUnfit):
            issue_api_key(
                user=member.user, organization=member.organization, name="x", terms=KeyTerms(team=other), actor=actor
            )
        with pytest.raises(TeamUnfit):
            update_api_key(key=key, team=other, actor=actor)
        with pytest.raises(TeamUnfit):
            choose_own_team(membership=member, team=other, actor=actor)

    def test_an_administrator_may_choose_any_team_of_the_organization(self, member: Membership) -> None:
        Membership.objects.filter(id=member.id).update(role="admin")
        other = TeamFactory(organization=member.organization)
        key, _ = issue_api_key(
            user=member.user,
            organization=member.organization,
            name="x",
            terms=KeyTerms(team=other),
            actor=actor_for(member),
        )
        assert key.team == other

    def test_ones_own_calls_count_for_a_team_while_it_is_active(self, team: Team, member: Membership) -> None:
        place = {"user_id": member.user_id, "organization_id": member.organization_id}
        assert path_of_person(**place) == ()
        choose_own_team(membership=member, team=team, actor=actor_for(member))
        assert path_of_person(**place) == (team.id,)
        change_team(team=team, is_active=False, actor=SYSTEM)
        assert path_of_person(**place) == ()
        choose_own_team(membership=member, team=None, actor=actor_for(member))
        member.refresh_from_db()
        assert member.team is None

    def test_nobody_chooses_for_others_but_administrators(
        self, team: Team, member: Membership, admin: Membership
    ) -> None:
        with pytest.raises(RoleTooLow):
            choose_own_team(membership=admin, team=None, actor=actor_for(member))
        choose_own_team(membership=member, team=team, actor=actor_for(admin))
        member.refresh_from_db()
        assert member.team == team

    def test_suspending_stops_the_keys_of_a_team_and_of_those_within(self, team: Team, member: Membership) -> None:
        inner = TeamFactory(organization=team.organization, parent=team)
        secrets = [ApiKeyFactory.with_secret(membership=member, team=which)[1] for which in (team, inner)]
        free = ApiKeyFactory.with_secret(membership=member)[1]

        change_team(team=team, is_active=False, actor=SYSTEM)

        for secret in secrets:
            with pytest.raises(KeyUnknown):
                find_key(secret)
        assert find_key(free).team is None
        change_team(team=team, is_active=True, actor=SYSTEM)
        assert find_key(secrets[0]).team == team
        assert told("team.changed") == [{"fields": ["is_active"]}] * 3


class TestApi:
    def test_a_team_is_made_changed_and_deleted(self, api_as, admin: Membership) -> None:
        client = api_as(admin)
        made = client.post(TEAMS, {"name": "Research", "slug": "research"})
        assert made.status_code == 201
        outer = made.json()
        assert (outer["name"], outer["slug"], outer["parent_id"], outer["is_active"]) == (
            "Research",
            "research",
            None,
            True,
        )
        inner = client.post(TEAMS, {"name": "Inner", "parent_id": outer["id"]}).json()
        assert inner["parent_id"] == outer["id"]
        assert client.get(f"{TEAMS}/{inner['id']}").json() == inner
        assert {item["id"] for item in client.get(TEAMS).json()["items"]} == {outer["id"], inner["id"]}
        changed = client.patch(f"{TEAMS}/{inner['id']}", {"name": "Out", "parent_id": None})
        assert (changed.json()["name"], changed.json()["parent_id"]) == ("Out", None)
        assert client.post(TEAMS, {"name": "x", "slug": "research"}).json()["code"] == "users.team_taken"
        assert client.delete(f"{TEAMS}/{inner['id']}").status_code == 204
        assert client.get(f"{TEAMS}/{inner['id']}").status_code == 404

    def test_members_come_and_go(self, api_as, admin: Membership, member: Membership, team: Team) -> None:
        boss, path = api_as(admin), f"{TEAMS}/{team.public_id}/members"
        added = boss.put(f"{path}/{admin.user.public_id}", {"role": "admin"})
        assert (added.status_code, added.json()["role"]) == (200, "admin")
        listed = {item["user_id"]: item["role"] for item in boss.get(path).json()["items"]}
        assert listed == {member.user.public_id: "member", admin.user.public_id: "admin"}
        assert api_as(member).put(f"{path}/{member.user.public_id}", {"role": "admin"}).status_code == 403
        assert api_as(member).delete(f"{path}/me").status_code == 204
        assert boss.delete(f"{path}/{member.user.public_id}").status_code == 204
        assert [item["user_id"] for item in boss.get(path).json()["items"]] == [admin.user.public_id]

    @pytest.mark.parametrize("who", ["stranger", "missing", "nonsense"])
    def test_the_foreign_is_the_missing(self, api: APIClient, api_as, admin: Membership, team: Team, who: str) -> None:
        foreign = {
            "stranger": TeamFactory().public_id,
            "missing": "team_01h455vb4pex5vsknk084sn02q",
            "nonsense": "nonsense",
        }[who]
        client = api_as(admin)
        answers = [
            client.get(f"{TEAMS}/{foreign}"),
            client.patch(f"{TEAMS}/{foreign}", {"name": "mine"}),
            client.delete(f"{TEAMS}/{foreign}"),
            client.get(f"{TEAMS}/{foreign}/members"),
            client.put(f"{TEAMS}/{foreign}/members/me", {}),
            client.post(TEAMS, {"name": "x", "parent_id": foreign}),
            client.post("/api/v3/users/me/api-keys", {"name": "x", "team_id": foreign}),
            client.put(f"{TEAMS}/{team.public_id}/members/{MembershipFactory().user.public_id}", {}),
        ]
        assert [answer.status_code for answer in answers] == [404] * 8

    def test_a_key_is_made_for_a_team(self, api: APIClient, team: Team) -> None:
        made = api.post("/api/v3/users/me/api-keys", {"name": "x", "team_id": team.public_id, "parallel_calls": 2})
        assert (made.json()["team_id"], made.json()["parallel_calls"]) == (team.public_id, 2)
        path = f"/api/v3/users/me/api-keys/{made.json()['id']}"
        assert api.patch(path, {"team_id": None}).json()["team_id"] is None

    def test_a_key_of_a_team_makes_keys_of_that_team_only(self, team: Team, member: Membership) -> None:
        _, secret = ApiKeyFactory.with_secret(membership=member, team=team)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        keys = "/api/v3/users/me/api-keys"
        assert client.post(keys, {"name": "x"}).json()["code"] == "users.grant_too_wide"
        assert client.post(keys, {"name": "x", "team_id": team.public_id}).status_code == 201
        ApiKey.objects.filter(name="test key").update(parallel_calls=1)
        assert client.post(keys, {"name": "x", "team_id": team.public_id}).json()["code"] == "users.grant_too_wide"


def test_the_keys_page_offers_the_teams_of_the_person(logged_in, person) -> None:
    page = logged_in.get("/keys").content.decode()
    assert 'name="team"' not in page
    mine = TeamMembershipFactory(membership=Membership.objects.get(user=person)).team
    other = TeamFactory(organization=mine.organization, name="Not mine")
    page = logged_in.get("/keys").content.decode()
    assert mine.name in page
    assert other.name not in page
    made = logged_in.post("/keys", {"name": "x", "team": str(mine.id), "parallel_calls": "4"})
    assert made.status_code == 200
    assert (ApiKey.objects.get().team, ApiKey.objects.get().parallel_calls) == (mine, 4)
    assert f"team {mine.name}" in logged_in.get("/keys").content.decode()
    refused = logged_in.post("/keys", {"name": "x", "team": str(other.id)})
    assert refused.status_code == 422


class TestStaff:
    @pytest.fixture
    def staff(self, db: None) -> Client:
        client = Client()
        client.force_login(UserFactory(is_staff=True, is_superuser=True))
        return client

    def test_a_team_is_made_changed_and_deleted(self, staff: Client) -> None:
        organization = OrganizationFactory()
        fields = {"organization": str(organization.id), "name": "Research", "slug": "research", "parent": ""}
        staff.post(reverse("admin:users_team_add"), fields)
        team = Team.objects.get()
        assert (team.organization, team.slug) == (organization, "research")
        row = reverse("admin:users_team_change", args=[team.id])
        rows = {f"{name}-{part}_FORMS": "0" for name in INLINES for part in ("TOTAL", "INITIAL")}
        staff.post(row, rows | {"name": "Renamed", "slug": "research", "parent": ""})
        assert Team.objects.get().name == "Renamed"
        assert told("team.changed") == [{"fields": ["name"]}]
        circle = staff.post(row, rows | {"name": "Renamed", "slug": "research", "parent": str(team.id)}, follow=True)
        assert "cannot lie within itself" in circle.content.decode()
        staff.post(reverse("admin:users_team_delete", args=[team.id]), {"post": "yes"})
        assert told("team.deleted") == [{}]

    def test_lists_count_and_actions_act(self, staff: Client, team: Team, member: Membership) -> None:
        ApiKeyFactory(membership=member, team=team)
        page = reverse("admin:users_team_changelist")
        assert team.name in staff.get(page).content.decode()
        assert staff.get(reverse("admin:users_team_change", args=[team.id])).status_code == 200
        for action, state in (("suspend", False), ("activate", True)):
            staff.post(page, {"action": action, "_selected_action": [team.pk]})
            assert Team.objects.get().is_active is state
        staff.post(page, {"action": "delete_selected", "_selected_action": [team.pk], "post": "yes"})
        assert not Team.objects.exists()

    def test_members_come_and_go(self, staff: Client, team: Team, admin: Membership) -> None:
        TeamMembership.objects.all().delete()
        staff.post(
            reverse("admin:users_teammembership_add"),
            {"user": str(admin.user_id), "team": str(team.id), "role": "member"},
        )
        made = TeamMembership.objects.get()
        row = reverse("admin:users_teammembership_change", args=[made.id])
        assert staff.get(row).status_code == 200
        staff.post(row, {"role": "admin"})
        made.refresh_from_db()
        assert made.role == "admin"
        staff.post(reverse("admin:users_teammembership_delete", args=[made.id]), {"post": "yes"})
        assert told("team.member_removed") == [{"user_id": str(admin.user_id)}]
        again = TeamMembershipFactory(team=team, membership=admin)
        page = reverse("admin:users_teammembership_changelist")
        staff.post(page, {"action": "delete_selected", "_selected_action": [again.pk], "post": "yes"})
        assert not TeamMembership.objects.exists()

    def test_the_team_of_a_membership_is_chosen(self, staff: Client, team: Team, member: Membership) -> None:
        row = reverse("admin:users_membership_change", args=[member.id])
        staff.post(row, {"role": member.role, "team": str(team.id)})
        member.refresh_from_db()
        assert member.team == team
