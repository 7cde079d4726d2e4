const money = new Intl.NumberFormat("en", { style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: 4 });

const TIERS = { T0: "local", T1: "small", T2: "all-round", T3: "frontier" };

/** Return a word for a tier. */
export const tierWord = (tier) => TIERS[tier] || tier;

/** Return what a million tokens cost, read and written, in a few words. */
export function describePrice(prices) {
  const [input, output] = [Number(prices?.input ?? 0), Number(prices?.output ?? 0)];
  if (!input && !output) return "free";
  return `${money.format(input)} in, ${money.format(output)} out per million tokens`;
}

/** Return how much the model can read at once. */
export function describeWindow(tokens) {
  if (!tokens) return "";
  return tokens >= 1_000_000 ? `${+(tokens / 1_000_000).toFixed(1)}M context` : `${Math.round(tokens / 1000)}k context`;
}
