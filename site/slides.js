// Slides: one section a screen, turned by keys, by a clicker or by the buttons below.
"use strict";

const slides = { at: 0, all: [], typed: "" };

// Show a slide, and fetch the recordings of its widgets and of the next one's
slides.show = (at) => {
  slides.at = Math.max(0, Math.min(slides.all.length - 1, at));
  slides.all.forEach((slide, i) => slide.classList.toggle("current", i === slides.at));
  slides.all.slice(slides.at, slides.at + 2).forEach((slide) => {
    slide.querySelectorAll("figure[data-widget]").forEach(pgnotes.load);
  });
  document.getElementById("place").textContent = `${slides.at + 1} / ${slides.all.length}`;
  if (location.hash !== `#${slides.at + 1}`) location.hash = slides.at + 1;
};

// On to the next slide, or first to what this one holds back until its question has been answered
slides.turn = (by) => {
  const slide = slides.all[slides.at];
  const waits = by === 1 && slide.classList.contains("asks") && !slide.classList.contains("answers");
  waits ? slide.classList.add("answers") : slides.show(slides.at + by);
};

slides.from = () => slides.show((parseInt(location.hash.slice(1), 10) || 1) - 1);

// A slide is 1280 by 720 points, whatever the screen has
slides.fit = () => {
  const scale = Math.min(innerWidth / 1280, innerHeight / 720);
  const main = document.querySelector("main");
  main.style.setProperty("--scale", scale);
  main.style.setProperty("--left", `${(innerWidth - 1280 * scale) / 2}px`);
};

// Words as large as the slide holds: a point smaller at a time, where they are many
slides.words = async () => {
  await document.fonts.ready;
  slides.all.forEach((slide) => {
    const say = slide.querySelector(".say");
    const parts = [...slide.querySelectorAll(":scope > :not(footer), .say > *, .controls, .told, .said")];
    const low = () => Math.max(...parts.map((one) => one.offsetTop + one.offsetHeight));
    const wide = () => Math.max(...parts.map((one) => one.scrollWidth - one.clientWidth));
    const over = () => low() > slide.querySelector("footer").offsetTop || wide() > 1;
    const folds = [...slide.querySelectorAll("details:not([open])")]; // a question's answers, of which one is open
    const opened = (fold) => [(fold.open = true), over(), (fold.open = false)][1];
    const full = () => over() || folds.some(opened);
    let size = parseInt(getComputedStyle(say).fontSize, 10);
    while (full() && size > SMALLEST) say.style.setProperty("--size", `${--size}px`);
    slide.querySelectorAll(".said").forEach((said) => slides.below(said, said.parentElement.querySelector(".picture")));
  });
};

slides.below = (said, picture) => {
  said.style.top = `${picture.offsetTop + picture.offsetHeight + 10}px`;
  said.style.left = `${picture.offsetLeft}px`;
};

const SMALLEST = 17;
const TURNS = { PageDown: 1, PageUp: -1 }; // what a clicker sends: they turn the slide even where a slider has the focus
const ALSO = { ArrowRight: 1, ArrowDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, Home: -1e9, End: 1e9 };

slides.key = (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const busy = event.target.closest("input, select, button, a, summary, [tabindex]");
  const typed = slides.typed; // 14 and Enter: slide 14
  slides.typed = /^\d$/.test(event.key) ? typed + event.key : "";
  const by = TURNS[event.key] || (!busy && (event.shiftKey && event.key === " " ? -1 : ALSO[event.key]));
  if (by) {
    event.preventDefault();
    slides.turn(by);
  } else if (event.key === "Enter" && typed && !busy) {
    slides.show(typed - 1);
  } else if (event.key === "Escape") {
    document.activeElement.blur();
  } else if (event.key === "f" && document.documentElement.requestFullscreen) {
    document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen();
  } else if (event.key >= "1" && event.key <= "9") {
    slides.all[slides.at].querySelectorAll(".told button")[event.key - 1]?.click();
  }
};

// The demonstrations of a widget: a button for each, which sets all controls and says what is to be seen
slides.told = (figure) => {
  const row = make("div", { className: "told" });
  const said = make("p", { className: "said" });
  said.setAttribute("aria-live", "polite");
  JSON.parse(figure.dataset.told).forEach(([caption, places], i) => {
    const button = make("button", { type: "button", textContent: i + 1, title: caption });
    button.setAttribute("aria-label", `Demonstration ${i + 1}: ${caption}`);
    button.onclick = () => {
      figure.closest(".slide").classList.add("answers");
      figure.put(places);
      said.textContent = caption;
    };
    row.append(button);
  });
  figure.querySelector(".controls").after(row);
  figure.append(said);
  figure.addEventListener("ready", slides.words); // its controls take room
};

document.addEventListener("DOMContentLoaded", () => {
  slides.all = [...document.querySelectorAll(".slide")];
  document.querySelectorAll("figure[data-told]").forEach(slides.told);
  document.getElementById("back").onclick = () => slides.turn(-1);
  document.getElementById("on").onclick = () => slides.turn(1);
  document.addEventListener("keydown", slides.key);
  addEventListener("hashchange", slides.from);
  addEventListener("resize", slides.fit);
  // who works with the mouse turns slides by keys, without putting the slider down first
  const release = (event) => event.detail !== 0 && event.target.closest("input, button, summary")?.blur();
  document.addEventListener("click", release);
  document.body.classList.add("playing");
  slides.fit();
  slides.from();
});
addEventListener("load", slides.words); // formulas are typeset by then
