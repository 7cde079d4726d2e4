const money = new Intl.NumberFormat("en", { style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: 4 });

/** Return what a million tokens cost, read and written, in a few words. */
export function describePrice(prices) {
  if (!prices) return "";
  const [input, output] = [Number(prices.input), Number(prices.output)];
  if (!input && !output) return "free";
  return `${money.format(input)} in, ${money.format(output)} out per million tokens`;
}

/** Return how much the model can read at once. */
export function describeWindow(tokens) {
  if (!tokens) return "";
  return tokens >= 1_000_000 ? `${+(tokens / 1_000_000).toFixed(1)}M context` : `${Math.round(tokens / 1000)}k context`;
}
