// Typeset the formulas of a page: Sphinx leaves them as \(…\) and \[…\] in elements of the class "math".
"use strict";

(() => {
  const here = document.currentScript.src;
  const typeset = () =>
    document.querySelectorAll(".math").forEach((element) => {
      const text = element.textContent.trim();
      const display = text.startsWith("\\[");
      const inner = text.replace(/^\\[([]|\\[)\]]$/g, "");
      try {
        katex.render(inner, element, { displayMode: display, throwOnError: true, strict: "error" });
        const line = element.querySelector(".katex-display");
        if (line && line.scrollWidth > line.clientWidth) line.tabIndex = 0; // the keyboard can move it, too
      } catch (error) {
        element.dataset.failed = error.message; // stays as it was written
      }
    });
  const script = document.createElement("script");
  script.src = here.replace("boot.js", "katex.min.js");
  script.onload = () =>
    document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", typeset) : typeset();
  document.head.append(script);
})();
