// Play what site/record.py recorded: a control picks a setting, and the fragments of its picture are put in place.
"use strict";

const pgnotes = { waiting: {}, recordings: {} };

pgnotes.recording = (name, text) => {
  pgnotes.recordings[name] = text;
  (pgnotes.waiting[name] || []).forEach((figure) => pgnotes.play(figure));
};

// Deflated bytes as (what there is to know, which fragment each layer shows in each state)
pgnotes.read = async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = await new Response(stream).arrayBuffer();
  const size = new DataView(raw).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(raw, 4, size)));
  return [head, new Uint16Array(raw.slice(4 + size))];
};

const SVG = "http://www.w3.org/2000/svg";
const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);

pgnotes.play = async (figure) => {
  if (figure.dataset.ready) return;
  figure.dataset.ready = "begun";
  const [head, index] = await pgnotes.read(pgnotes.recordings[figure.dataset.widget]);
  const [width, height] = head.size;
  const picture = figure.querySelector(".picture");

  // the tiles: each a piece of the picture's own coordinates, with a group for each of its moving layers
  const layers = [];
  const board = make("div", { className: "board" });
  board.style.setProperty("--ratio", `${width} / ${height}`);
  head.tiles.forEach((tile) => {
    const [x, y, w, h] = tile.box;
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", tile.box.join(" "));
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("class", tile.panel ? "panel" : "word");
    Object.entries({ "--x": x / width, "--y": y / height, "--w": w / width, "--h": h / height }).forEach(
      ([key, value]) => svg.style.setProperty(key, `${100 * value}%`)
    );
    svg.style.setProperty("--points", w);
    svg.innerHTML = tile.still;
    tile.layers.forEach(([number, fragments]) => {
      layers.push({ number, fragments, shown: -1, group: svg.appendChild(document.createElementNS(SVG, "g")) });
    });
    board.append(svg);
  });

  const at = head.controls.map((control) => control.at);
  const draw = () => {
    let state = 0;
    head.controls.forEach((control, i) => (state = state * control.texts.length + at[i]));
    for (const layer of layers) {
      const fragment = index[layer.number * head.states + state];
      if (fragment !== layer.shown) layer.group.innerHTML = layer.fragments[(layer.shown = fragment)];
    }
    figure.dataset.state = state;
  };

  const controls = figure.querySelector(".controls");
  const rows = head.controls.map((control, i) => pgnotes.control(control, (value) => { at[i] = value; draw(); }));
  controls.append(...rows);
  figure.put = (places) => {
    places.forEach((place, i) => { rows[i].put(place); at[i] = place; });
    draw();
  };
  draw();
  picture.replaceChildren(board);
  pgnotes.reachable();
  if (head.recorded === "positions") {
    const note = "Recorded at these positions. In Colab and in JupyterLab every position moves.";
    figure.append(make("figcaption", { textContent: note }));
  }
  figure.dataset.ready = "done";
  figure.dispatchEvent(new Event("ready"));
};

// One control with its label; `change` is told the place of the value that was chosen, `put` moves the control alone
pgnotes.control = (control, change) => {
  const row = make("label", { className: `control ${control.kind}` });
  const name = make("span", { textContent: control.label });
  if (control.kind === "button") {
    let place = control.at;
    const button = make("button", { type: "button", textContent: control.label });
    button.onclick = () => change((place = (place + 1) % control.texts.length));
    button.put = (value) => { place = value; };
    return button;
  }
  if (control.kind === "choice") {
    const list = make("select");
    control.texts.forEach((text, k) => list.add(new Option(text, k)));
    list.value = control.at;
    list.onchange = () => change(+list.value);
    row.put = (value) => { list.value = value; };
    row.append(name, list);
    return row;
  }
  if (control.kind === "switch") {
    const box = make("input", { type: "checkbox", checked: control.at === 1 });
    box.onchange = () => change(+box.checked);
    row.put = (value) => { box.checked = value === 1; };
    row.append(box, name);
    return row;
  }
  const range = make("input", { type: "range", min: 0, max: control.texts.length - 1, step: 1, value: control.at });
  const readout = make("output", { textContent: control.texts[control.at] });
  row.put = (value) => {
    range.value = value;
    readout.textContent = control.texts[value];
    range.setAttribute("aria-valuetext", readout.textContent);
  };
  row.put(control.at);
  range.oninput = () => {
    row.put(+range.value);
    change(+range.value);
  };
  row.append(name, readout, range);
  return row;
};

pgnotes.load = (figure) => {
  const { widget, source, asked } = figure.dataset;
  if (asked) return;
  figure.dataset.asked = "yes";
  if (pgnotes.recordings[widget]) { pgnotes.play(figure); return; }
  const first = !pgnotes.waiting[widget];
  (pgnotes.waiting[widget] ||= []).push(figure);
  if (first) document.head.append(make("script", { src: source, async: true }));
};

// Pictures are read when they come near, and the others once the page stands: it opens at once, whatever they weigh
pgnotes.start = () => {
  const figures = document.querySelectorAll("figure[data-widget]");
  const near = new IntersectionObserver((entries) => {
    entries.filter((one) => one.isIntersecting).forEach((one) => pgnotes.load(one.target));
  }, { rootMargin: "800px" });
  figures.forEach((figure) => near.observe(figure));
  addEventListener("load", () => setTimeout(() => figures.forEach(pgnotes.load), 2000)); // for paper, and for a tunnel
  document.querySelectorAll(".quiz input").forEach((input) => { input.onchange = () => pgnotes.answer(input); });
  pgnotes.reachable();
  addEventListener("resize", pgnotes.reachable);
  document.querySelectorAll("details").forEach((fold) => fold.addEventListener("toggle", pgnotes.reachable));
};

// What is wider than the page can be moved with the keyboard, too
pgnotes.reachable = () => {
  document.querySelectorAll("pre, .table-wrapper, .still, .board, .katex-display").forEach((wide) => {
    if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
    else wide.removeAttribute("tabindex");
  });
};

// Show what there is to say about the choice that was clicked, and nothing about the others
pgnotes.answer = (input) => {
  const question = input.closest(".question");
  question.querySelectorAll(".why").forEach((why) => { why.hidden = why.id !== input.getAttribute("aria-controls"); });
};

document.addEventListener("DOMContentLoaded", pgnotes.start);

// A site that was opened once can be read again without a network
const WORKER = new URL("../sw.js", document.currentScript.src);
if (location.protocol.startsWith("http") && "serviceWorker" in navigator) navigator.serviceWorker.register(WORKER);
