// How Home's parts look. A module, so that it comes with the others and no picture waits for it.

export const STYLE = `
.home {
  font-family: var(--st-font, sans-serif), system-ui, "Noto Sans CJK SC", sans-serif;
  font-size: 14px;
  line-height: 1.4;
  color: var(--st-text-color);
  --faint: color-mix(in srgb, var(--st-text-color) 66%, var(--st-background-color));
}
.home p { margin: 0; }
a { color: var(--st-link-color, var(--st-primary-color)); }
button {
  font: inherit;
  color: inherit;
  background: none;
  border: 1px solid var(--st-border-color);
  border-radius: var(--st-button-radius, 6px);
  padding: 3px 10px;
  cursor: pointer;
}
button:hover { border-color: var(--st-primary-color); }
:is(button, a, input, .token):focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }

/* masthead */
.masthead { display: flex; flex-wrap: wrap; gap: 4px 24px; align-items: baseline; justify-content: space-between; }
.masthead h1 { font-size: 26px; font-weight: 650; margin: 0; line-height: 1.25; letter-spacing: -0.01em; }
.masthead nav { display: flex; flex-wrap: wrap; gap: 14px; align-items: baseline; color: var(--faint); font-size: 13px; }
.lead { color: var(--faint); font-size: 15px; flex-basis: 100%; }

/* sentence */
.words { position: relative; padding-top: 156px; }
.words ol { display: flex; flex-wrap: wrap; gap: 96px 1px; margin: 0; padding: 0; list-style: none; align-items: flex-start; }
.words.one ol { flex-wrap: nowrap; }
.spaced { margin-left: 6px; }
.token { padding: 2px 1px; border-radius: 5px; cursor: default; text-align: center; font-size: 20px; line-height: 1.3; white-space: pre; }
.token:is(:hover, :focus-visible, .on) { background: var(--st-secondary-background-color); box-shadow: inset 0 0 0 1.5px var(--head); }
.token small { display: block; font-size: 11.5px; min-height: 16px; font-variant-numeric: tabular-nums; color: var(--faint); }
.answer { margin-left: 36px; padding: 2px 10px; border-radius: 6px; font-size: 20px; line-height: 1.3; white-space: pre; font-weight: 650;
  color: var(--st-primary-color); background: color-mix(in srgb, var(--st-primary-color) 13%, transparent); }
.answer::before { content: "→"; margin: 0 14px 0 -34px; color: var(--faint); font-weight: 400; }
.arcs { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; overflow: visible; }
.arcs path { fill: none; stroke: var(--head); stroke-linecap: round; }
@media (prefers-reduced-motion: no-preference) {
  .arcs.drawn path { stroke-dasharray: 1; animation: draw 600ms ease-out; }
}
@keyframes draw { from { stroke-dashoffset: 1; } to { stroke-dashoffset: 0; } }
.chips { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 8px; }
.chip { display: inline-flex; gap: 7px; align-items: center; padding: 3px 10px; }
.chip i { width: 10px; height: 10px; border-radius: 50%; background: var(--head); }
.chip[aria-pressed="true"] { border-color: var(--head); box-shadow: inset 0 0 0 1px var(--head); }
.chip span { color: var(--faint); font-variant-numeric: tabular-nums; }
.home .says { margin-top: 10px; min-height: 42px; font-size: 15px; }
.quiet { color: var(--faint); font-size: 13px; }
.next { display: flex; gap: 6px 20px; flex-wrap: wrap; margin-top: 10px; }
.next ol { display: grid; grid-template-columns: max-content 1fr; gap: 2px 10px; margin: 0; padding: 0; list-style: none; font-size: 13px; }
.next li { display: contents; }
.next li span { text-align: right; }
.next li i { display: inline-block; width: calc(1px + var(--share) * min(260px, 36vw)); height: 10px; border-radius: 2px; background: var(--st-primary-color); margin-right: 8px; }
.next li > b { grid-column: 2; font-weight: 400; font-variant-numeric: tabular-nums; }

form { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 16px; }
form input { flex: 1 1 320px; min-width: 0; font: inherit; font-size: 15px; color: inherit; padding: 7px 12px;
  background: var(--st-secondary-background-color); border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius, 6px); }
form button.main { background: var(--st-primary-color); border-color: var(--st-primary-color); color: #fff; font-weight: 600; }

/* layer */
.layer > canvas { display: block; width: 100%; touch-action: pan-y; }
.readout { min-height: 20px; font-size: 13px; color: var(--faint); font-variant-numeric: tabular-nums; }

.controls { display: flex; flex-wrap: wrap; gap: 6px 28px; margin: 8px 0 4px; }
.controls label { display: inline-flex; gap: 10px; align-items: center; }
.controls input { width: 120px; accent-color: var(--st-primary-color); }
.controls output { min-width: 2ch; font-variant-numeric: tabular-nums; font-weight: 600; }
.layer > p:first-child { font-size: 15px; }

/* cards */
.home h2 { font-size: 19px; font-weight: 600; margin: 6px 0 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: 14px; }
.card { display: grid; grid-template-columns: 116px 1fr; gap: 14px; padding: 12px; color: inherit; text-decoration: none;
  border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius, 6px); }
.card:hover { border-color: var(--st-primary-color); }
.card :is(canvas, svg) { width: 116px; height: 116px; border-radius: 4px; }
.card h3 { margin: 0 0 3px; font-size: 16px; font-weight: 600; }
.card p { color: var(--faint); font-size: 13px; overflow-wrap: anywhere; }
.card polyline { fill: none; stroke-width: 2; }
.card .axis { stroke: var(--st-border-color); stroke-width: 1; }
.card .tick { fill: var(--faint); font-size: 11px; }
.home .scale { display: flex; gap: 8px; align-items: center; margin: 8px 0; color: var(--faint); font-size: 13px; }
.scale canvas { width: 120px; height: 9px; border: 1px solid var(--st-border-color); border-radius: 2px; }
.mark path { fill: none; stroke: var(--st-green-text-color); stroke-width: 9; stroke-linecap: round; stroke-linejoin: round; }
`;
