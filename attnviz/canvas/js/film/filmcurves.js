// The curves of a training, for the canvas's curves mode.

/**
 * @typedef {import("./frames.js").FilmHeader} FilmHeader
 * @typedef {import("./frames.js").FilmArrays} FilmArrays
 * @typedef {{height: number, source: string}} Room
 */

const NAMED = 5; // heads whose lines have a color and a name, beside the selected one

/** @param {FilmHeader} header @param {FilmArrays} arrays @param {Room} room @returns {import("../payload.js").CurvesPayload} */
export function lossCurves(header, { lossSteps, losses }, { height, source }) {
  const series = [
    { name: "training", color: 0, named: true },
    { name: "held out", color: 1, named: losses.subarray(lossSteps.length).some(Number.isFinite) },
  ];
  return {
    header: { mode: "curves", id: `${header.id}/loss`, title: "Loss (nats)", series, last: header.last, at: null,
      height, source, compact: true, arrays: {} },
    arrays: { x: lossSteps, y: losses },
  };
}

/** @param {FilmHeader} header @param {FilmArrays} arrays @param {Room} room @returns {import("../payload.js").CurvesPayload} */
export function accuracyCurves(header, { accuracySteps, accuracies }, { height, source }) {
  return {
    header: { mode: "curves", id: `${header.id}/accuracy`, title: "Held-out accuracy", last: header.last, at: null, domain: [0, 1],
      series: header.accuracies.map((name, i) => ({ name, color: i, named: true })), height, source, compact: true, arrays: {} },
    arrays: { x: accuracySteps, y: accuracies },
  };
}

/** @param {FilmHeader} header @param {FilmArrays} arrays @param {Room} room @returns {import("../payload.js").CurvesPayload} */
export function scoreCurves(header, { scores }, { height, source }) {
  const { heads, steps, selected, emerged } = header;
  const [T, H] = [steps.length, heads.length];
  const y = new Float32Array(T * H);
  for (let h = 0; h < H; h++) for (let t = 0; t < T; t++) y[h * T + t] = scores[t * H + h];
  const strongest = [...heads.keys()].sort((a, b) => y[b * T + T - 1] - y[a * T + T - 1]);
  const shown = [...new Set([...emerged.map(([h]) => h), ...strongest])].slice(0, NAMED);
  /** @type {import("../payload.js").Series[]} */
  const series = heads.map(({ layer, head, name }, h) => {
    const chosen = layer === selected[0] && head === selected[1];
    const at = emerged.find(([one]) => one === h)?.[1];
    return { name, at, named: chosen || shown.includes(h), color: chosen ? "selected" : shown.includes(h) ? shown.indexOf(h) : null };
  });
  const uniform = heads.reduce((sum, one) => sum + one.uniform, 0) / H;
  const high = y.reduce((most, value) => (value > most ? value : most), 0);
  return {
    header: { mode: "curves", id: `${header.id}/scores`, title: header.unit ? `${header.scoreTitle} (${header.unit})` : header.scoreTitle, series, last: header.last, at: null,
      domain: header.unit === "" ? [0, 1] : [0, high || 1], base: uniform > 0 ? { value: uniform, name: `uniform attention ${uniform.toFixed(2)}` } : undefined,
      note: `${header.scoreTitle}: ${header.scoreRule}.`, height, source, compact: true, arrays: {} },
    arrays: { x: Float32Array.from(steps), y },
  };
}
