/** Copy text; return whether it worked. The Clipboard API needs https or localhost, a hidden field works on any address. */
export async function copyText(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return false;
    }
  }
  const field = Object.assign(document.createElement("textarea"), { value: text, readOnly: true, className: "sr-only" });
  const focused = document.activeElement;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return isCopied;
}
