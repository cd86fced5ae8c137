// Round numbers along an axis.

/** Multiples of 1, 2 or 5 times a power of ten, at most about `most`. @param {[number, number]} range @param {number} most @returns {number[]} */
export function ticksOf([low, high], most) {
  const rough = (high - low) / Math.max(1, most);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}
