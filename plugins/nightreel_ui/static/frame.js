// Airflow shows these pages in an iframe that may not lead the window around it elsewhere. A link to one of Airflow's
// own pages is therefore followed by that window itself, on the person's click.
(function () {
  "use strict";
  if (window.parent === window) return;
  document.addEventListener("click", function (event) {
    const link = event.target.closest('a[target="_top"]');
    if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const outer = window.top.document.createElement("a");
    outer.href = new URL(link.getAttribute("href"), document.baseURI).href;
    outer.click();
  });
})();
