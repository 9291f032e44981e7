// While a backfill is under way, the page looks again by itself: it is fetched, and its main part is swapped.
// A person may turn that off; who wants little motion finds it off.
(function () {
  "use strict";
  const main = document.getElementById("main");
  let looks = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  let timer = 0;

  function wait() {
    window.clearTimeout(timer);
    const button = document.getElementById("refresh");
    if (!button) return;
    button.hidden = false;
    button.setAttribute("aria-pressed", String(looks));
    if (looks) timer = window.setTimeout(look, Number(button.dataset.everyS) * 1000);
  }

  async function look() {
    // Nobody sees it, or text is being selected: later.
    if (!document.hidden && !selects()) await fetchAndSwap();
    wait();
  }

  function selects() {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && main.contains(selection.anchorNode);
  }

  async function fetchAndSwap() {
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
      if (fresh && looks) swap(fresh);
    } catch {
      document.getElementById("refresh-state").textContent = "Airflow does not answer; the figures are as old as they say.";
    }
  }

  function swap(fresh) {
    const focused = main.contains(document.activeElement) ? address(document.activeElement) : null;
    const typed = [...main.querySelectorAll("input[id]")].map((field) => [field.id, field.value, field.selectionStart]);
    const scrolled = [...main.querySelectorAll(".scroll")].map((area) => [address(area), area.scrollLeft]);
    main.replaceChildren(...fresh.childNodes);
    for (const [id, value, caret] of typed) {
      const field = document.getElementById(id);
      if (!field) continue;
      field.value = value;
      field.setSelectionRange(caret, caret);
    }
    for (const [where, left] of scrolled) {
      const area = main.querySelector(where);
      if (area) area.scrollLeft = left;
    }
    if (focused) main.querySelector(focused)?.focus({ preventScroll: true });
  }

  // A selector by which the same thing is found in the next version of the page.
  function address(element) {
    if (element.id) return `#${CSS.escape(element.id)}`;
    for (const name of ["href", "aria-labelledby"]) {
      const value = element.getAttribute(name);
      if (value) return `${element.localName}[${name}="${CSS.escape(value)}"]`;
    }
    return element.localName;
  }

  document.addEventListener("click", (event) => {
    if (!event.target.closest("#refresh")) return;
    looks = !looks;
    wait();
  });
  wait();
})();
