// The explanation: what the chosen head does, in words and numbers of what is shown.

import { element } from "./dom.js";
import { cellSteps } from "./cellsteps.js";
import { shareBar, shown, token } from "./sharebar.js";

/** @typedef {import("./answers.js").ShownHead} ShownHead */

const STRONGEST_KEYS = 5;

/**
 * What the model predicts.
 * @typedef {object} Predictions
 * @property {string} heading @property {[string, number][]} last
 * @property {number} text the list of names whose positions these are
 * @property {Record<string, [string, number][]>} byPosition @property {string} task
 */

/** What the head does, and whether that was checked. @param {ShownHead} head */
export function explainHead({ layer, head }) {
  const { word, color, text } = layer.receipt;
  return element("section", {}, [
    element("h2", {}, [`${layer.title}, head ${head}`]),
    element("p", { class: "does" }, [layer.descriptions[head - layer.firstHead] ?? ""]),
    element("p", { class: `receipt ${color}` }, [element("b", {}, [word]), ` ${text}`]),
  ]);
}

/**
 * The row of a query: its strongest keys.
 * @param {ShownHead} shownHead @param {number} query @param {(key: number) => void} choose
 */
export function explainQuery({ reading, rowNames, colNames }, query, choose) {
  const { weights, masked } = reading.row(query);
  const order = Array.from(weights, (_, j) => j).filter((j) => !masked?.[j]).sort((a, b) => weights[b] - weights[a]);
  const bars = order.slice(0, STRONGEST_KEYS).map((j) =>
    shareBar([`${j} `, token(colNames[j])], weights[j], () => choose(j)));
  return element("section", {}, [
    element("h3", {}, ["What ", token(rowNames[query]), ` (${query}) attends to`]), ...bars]);
}

/**
 * The arithmetic of one cell.
 * @param {ShownHead} shownHead @param {number} query @param {number} key
 */
export function explainCell({ layer, reading, rowNames, colNames }, query, key) {
  const steps = cellSteps(reading, layer.scaling, query, key);
  const title = element("h3", {}, [token(rowNames[query]), " → ", token(colNames[key])]);
  if (!steps) {
    const w = reading.row(query).weights[key];
    return element("section", {}, [title, element("p", {}, [
      `Weight ${shown(w)}. This layer's scores are computed inside its module and are not available.`])]);
  }
  const rows = /** @type {[string, string][]} */ ([
    ["q · k", shown(steps.dot)],
    [`× ${shown(steps.scaling)}`, shown(steps.scaled)],
  ]);
  if (steps.capped !== null) rows.push([`capped at ±${shown(/** @type {number} */ (steps.softcap))}`, shown(steps.capped)]);
  if (steps.masked) rows.push(["masked", "−∞"]);
  else {
    if (Math.abs(steps.added) > 1e-9) rows.push(["+ bias", shown(steps.added)]);
    rows.push([`e^(${shown(steps.score)} − ${shown(steps.highest)}) / ${shown(steps.total)}`, shown(steps.weight)]);
  }
  rows.push(["weight", `${shown(steps.weight)} (rank ${steps.rank} of the row)`]);
  if (steps.share !== null) rows.push(["share of the output", shown(steps.share, 3)]);
  return element("section", {}, [title, element("table", { class: "steps" }, [element("tbody", {},
    rows.map(([name, value]) => element("tr", {}, [element("th", { scope: "row" }, [name]), element("td", {}, [value])])))])]);
}

/** @param {Predictions} predictions @param {number | null} position whose predictions are shown, if they are here @param {string[]} names */
export function explainPredictions({ heading, last, byPosition, task }, position, names) {
  const here = position === null ? undefined : byPosition[String(position)];
  const title = here && position !== null
    ? [task === "next" ? "Next token after " : "At ", token(names[position]), ` (${position})`] : [heading];
  return element("section", {}, [element("h3", {}, title),
    ...(here ?? last).map(([text, share]) => shareBar([token(text)], share, null))]);
}
