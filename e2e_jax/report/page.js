"use strict";
// Draws the interactive figures in the page's colours: at once, or, inside <details>, when it is opened.
(() => {
  const pointer = window.matchMedia("(hover: hover)");
  const night = window.matchMedia("(prefers-color-scheme: dark)");
  const darker = JSON.parse(document.getElementById("dark").textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function drawing(name) {
    const { data, layout } = JSON.parse(document.getElementById(`plot-${name}`).textContent);
    const ink = colour("--ink"), line = colour("--line");
    for (const trace of night.matches ? data : []) {
      if (trace.line) trace.line.color = darker[trace.line.color] ?? trace.line.color;
      if (trace.fillcolor) trace.fillcolor = darker[trace.fillcolor] ?? trace.fillcolor;
    }
    for (const [key, axis] of Object.entries(layout)) {
      if (/^[xy]axis/.test(key)) Object.assign(axis, { linecolor: ink, tickcolor: ink, gridcolor: line, mirror: true, showline: true });
    }
    layout.font = { color: ink, size: 12, family: getComputedStyle(document.body).fontFamily };
    layout.paper_bgcolor = "rgba(0,0,0,0)";
    layout.plot_bgcolor ??= "rgba(0,0,0,0)";
    return [data, layout];
  }

  async function draw(node) {
    node.hidden = false;
    const [data, layout] = drawing(node.dataset.plot);
    // Images keep their shape: their height follows from the width there is.
    if (layout.meta) layout.height = node.clientWidth * layout.meta.ratio + layout.margin.t + layout.margin.b;
    await Plotly.react(node, data, layout, { responsive: true, displaylogo: false, displayModeBar: pointer.matches ? "hover" : false });
    const still = node.parentElement.querySelector(":scope > .static");
    if (still) still.hidden = true;
    node.dataset.drawn = "yes";
  }

  for (const node of document.querySelectorAll(".live")) {
    const fold = node.closest("details");
    if (!fold) draw(node);
    else fold.addEventListener("toggle", () => { if (fold.open && !node.dataset.drawn) draw(node); });
  }
  night.addEventListener("change", () => document.querySelectorAll(".live[data-drawn]").forEach(draw));
})();
