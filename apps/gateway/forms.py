"""Forms of the gateway's pages."""

from __future__ import annotations

from django import forms

from apps.gateway.choices import Analysis
from apps.gateway.services.analysis import LONGEST_SOURCE

PRESELECTED = (Analysis.SUMMARY, Analysis.SENTIMENT, Analysis.TOPICS)


class AnalysisForm(forms.Form):
    """A text, what to find out about it, and who finds it: a model, or with an empty `model` the built-in methods."""

    text = forms.CharField(
        strip=False, error_messages={"required": "There is no text: paste the one that should be analysed."}
    )
    analyses = forms.MultipleChoiceField(
        choices=Analysis.choices,
        initial=PRESELECTED,
        error_messages={
            "required": "No analysis is chosen: choose at least one.",
            "invalid_choice": "There is no analysis %(value)r: reload the page and choose again.",
        },
    )
    model = forms.CharField(
        required=False,
        max_length=200,
        error_messages={"max_length": "The model's name is longer than 200 characters: choose one of the list."},
    )

    def clean_text(self) -> str:
        """Return the text with single line ends, as it is counted on the page. Refuse what is blank or too long."""
        text: str = self.cleaned_data["text"].replace("\r\n", "\n").strip()
        if not text:
            raise forms.ValidationError(self.fields["text"].error_messages["required"])
        if len(text) > LONGEST_SOURCE:
            raise forms.ValidationError(
                f"The text has {len(text):,} characters, and {LONGEST_SOURCE:,} are the most: shorten it, or analyse it in "
                "parts."
            )
        return text

    def clean_analyses(self) -> list[Analysis]:
        """Return what to find out, in the order of the page."""
        chosen = set(self.cleaned_data["analyses"])
        return [analysis for analysis in Analysis if analysis in chosen]
