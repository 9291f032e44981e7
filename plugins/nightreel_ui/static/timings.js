// A bar of the timeline tells its details below it. They are the row of the table that the bar's link leads to, which may
// be on another page of the table.
(function () {
  "use strict";
  const timeline = document.querySelector(".timeline");
  const panel = document.getElementById("details");
  if (!timeline || !panel) return;

  async function rowsFrom(address) {
    if (address.search === location.search) return document;
    const answer = await fetch(address, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(answer.statusText);
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  }

  function made(name, text) {
    const element = document.createElement(name);
    element.textContent = text;
    return element;
  }

  function show(title, found, row, address) {
    const names = [...found.querySelectorAll("#phases thead th")].map((head) => head.textContent);
    const list = document.createElement("dl");
    [...row.cells].forEach(function (cell, place) {
      const value = document.createElement("dd");
      for (const node of cell.childNodes) value.append(document.importNode(node, true));
      list.append(made("dt", names[place]), value);
    });
    const link = made("a", "Show it in the table");
    link.href = address;
    const several = /^\d+ short phases/.test(title);
    panel.replaceChildren(made("h3", title), ...(several ? [made("p", "The first of them:")] : []), list, link);
    panel.hidden = false;
  }

  timeline.addEventListener("click", async function (event) {
    const bar = event.target.closest("a.bar");
    if (!bar || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const address = new URL(bar.getAttribute("href"), location.href);
    timeline.querySelectorAll(".chosen").forEach((chosen) => chosen.classList.remove("chosen"));
    bar.classList.add("chosen");
    try {
      const found = await rowsFrom(address);
      const row = found.getElementById(address.hash.slice(1));
      if (!row) throw new Error("the table has changed");
      if (bar.classList.contains("chosen")) show(bar.querySelector("title").textContent, found, row, address);
    } catch {
      location.assign(address);
    }
  });
})();
