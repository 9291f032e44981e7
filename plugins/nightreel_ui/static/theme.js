// The page wears the theme that Airflow's UI keeps, and changes with it.
(function () {
  "use strict";
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  function wear() {
    let kept = null;
    try { kept = localStorage.getItem("theme"); } catch { /* storage is forbidden: as the system has it */ }
    const dark = kept === "dark" || (kept !== "light" && system.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  }
  wear();
  window.addEventListener("storage", wear);
  system.addEventListener("change", wear);
})();
