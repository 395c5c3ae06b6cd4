/** An exponential mean that forgets its start: with weight w each value counts (1 - w) of the new
 * one; divided by the weights so far, so that the first points are no lower than they were.
 * Gaps stay gaps. smooth([1, 3], 0.5) -> [1, 2.33]
 */
export function smooth(values: readonly (number | null)[], weight: number): (number | null)[] {
  let sum = 0;
  let total = 0;
  return values.map((value) => {
    if (value === null || !Number.isFinite(value)) return null;
    sum = weight * sum + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return total > 0 ? sum / total : value;
  });
}
