/** A request as somebody would make it outside the playground. */

/** Return the request's body for one model at `/v1`, or for several at `/api/v3/models/compare`. */
export function bodyOf(request, models) {
  return models.length > 1 ? { models, ...request } : { model: models[0] ?? "", ...request };
}

const pathOf = (models) => (models.length > 1 ? "/api/v3/models/compare" : "/v1/chat/completions");

/** Return the snippet in a form: json, curl or python. */
export function write(form, request, models) {
  return { json, curl, python }[form](request, models);
}

const json = (request, models) => JSON.stringify(bodyOf(request, models), null, 2);

function curl(request, models) {
  const body = json(request, models).replaceAll("'", "'\\''");
  return [
    `curl ${location.origin}${pathOf(models)} \\`,
    '  -H "Authorization: Bearer $PORTICO_API_KEY" \\',
    '  -H "Content-Type: application/json" \\',
    `  -d '${body}'`,
  ].join("\n");
}

function python(request, models) {
  if (models.length > 1) {
    return [
      "import os",
      "",
      "import httpx",
      "",
      "answer = httpx.post(",
      `    "${location.origin}${pathOf(models)}",`,
      '    headers={"Authorization": f"Bearer {os.environ[\'PORTICO_API_KEY\']}"},',
      `    json=${literal(bodyOf(request, models), 1)},`,
      "    timeout=300,",
      ")",
      'for result in answer.json()["results"]:',
      '    print(result["model"], result["cost"], result["message"])',
    ].join("\n");
  }
  const fields = Object.entries(bodyOf(request, models)).map(([name, value]) => `    ${name}=${literal(value, 1)},`);
  return [
    "import os",
    "",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url="${location.origin}/v1", api_key=os.environ["PORTICO_API_KEY"])`,
    "completion = client.chat.completions.create(",
    ...fields,
    ")",
    "print(completion.choices[0].message.content)",
  ].join("\n");
}

/** Return a value as Python writes it. */
function literal(value, depth) {
  const inner = "    ".repeat(depth + 1);
  const outer = "    ".repeat(depth);
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  // JSON's texts are Python's, half surrogates aside.
  if (typeof value !== "object") return JSON.stringify(value);
  const items = Array.isArray(value)
    ? value.map((item) => literal(item, depth + 1))
    : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${literal(item, depth + 1)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return items.length ? `${open}\n${items.map((item) => `${inner}${item},\n`).join("")}${outer}${close}` : open + close;
}
