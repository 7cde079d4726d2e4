const DAY = 24 * 3600 * 1000;
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const month = new Intl.DateTimeFormat(undefined, { month: "long", year: "numeric" });

export const fullTime = (iso) => full.format(new Date(iso));

/** Return the heading under which a conversation of that time stands in the list. */
export function periodOf(iso, now = new Date()) {
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const time = new Date(iso).getTime();
  if (time >= midnight) return "Today";
  if (time >= midnight - DAY) return "Yesterday";
  if (time >= midnight - 7 * DAY) return "Previous 7 days";
  if (time >= midnight - 30 * DAY) return "Previous 30 days";
  return month.format(time);
}
