"use strict";
// What is in the page comes from messages: it is only ever read as text and written as text.
const entries = [...document.querySelectorAll(".entry")];
const texts = new Map();

function textOf(entry) {
  if (!texts.has(entry)) {
    const parts = [...entry.querySelectorAll(".head, .text, .fold > pre")].map((part) => part.textContent);
    texts.set(entry, parts.join("\n").toLowerCase());
  }
  return texts.get(entry);
}

function mark(wanted) {
  if (!("highlights" in CSS)) return;
  CSS.highlights.delete("hit");
  if (!wanted) return;
  const ranges = [];
  for (const entry of entries) {
    if (ranges.length > 2000) break;
    if (entry.classList.contains("unmatched")) continue;
    const walker = document.createTreeWalker(entry, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.parentNode.nodeName === "SCRIPT") continue;
      const text = node.data.toLowerCase();
      if (text.length !== node.data.length) continue; // a letter that has no small form of its own length
      for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + wanted.length);
        ranges.push(range);
      }
    }
  }
  CSS.highlights.set("hit", new Highlight(...ranges));
}

function search() {
  const wanted = document.getElementById("search").value.trim().toLowerCase();
  let hits = 0;
  for (const entry of entries) {
    const found = !wanted || textOf(entry).includes(wanted);
    entry.classList.toggle("unmatched", !found);
    if (wanted && found) hits += 1;
    const pre = entry.querySelector(".fold > pre");
    if (wanted && pre) pre.parentNode.open = pre.textContent.toLowerCase().includes(wanted);
  }
  for (const turn of document.querySelectorAll(".turn")) {
    turn.classList.toggle("unmatched", !turn.querySelector(".entry:not(.unmatched)"));
  }
  document.getElementById("hits").value = wanted ? `${hits} of ${entries.length}` : "";
  mark(wanted);
}

const asked = /^#q=(.+)/.exec(location.hash); // a link may bring a search along
if (asked) {
  try {
    document.getElementById("search").value = decodeURIComponent(asked[1]);
    search();
  } catch { /* not an address */ }
}

let waiting;
document.getElementById("search").addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(search, 120);
});

for (const box of document.querySelectorAll("[data-hides]")) {
  box.addEventListener("change", () => document.body.classList.toggle(`no-${box.dataset.hides}`, !box.checked));
}

const folds = () => document.querySelectorAll(".fold");
document.getElementById("unfold").addEventListener("click", (event) => {
  const open = event.target.textContent === "unfold all";
  for (const fold of folds()) fold.open = open;
  event.target.textContent = open ? "fold all" : "unfold all";
});

document.addEventListener("toggle", (event) => {
  const details = event.target;
  if (!details.matches(".raw") || !details.open || details.querySelector("pre")) return;
  const pre = document.createElement("pre");
  const text = details.nextElementSibling.textContent;
  try {
    // Written anew only to lay it out: a number that JavaScript rounds is shown as it stands.
    const laidOut = JSON.stringify(JSON.parse(text), null, 2);
    pre.textContent = JSON.stringify(JSON.parse(text)).length === text.replace(/\\u(003c|003e|0026|2028|2029)/g, "x").length ? laidOut : text;
  } catch {
    pre.textContent = text;
  }
  details.append(pre);
}, true);

const bars = [...document.querySelectorAll(".tokens")];
const most = Math.max(1, ...bars.map((bar) => Number(bar.dataset.total)));
for (const bar of bars) bar.setAttribute("viewBox", `0 0 ${most} 1`);

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...folds()].filter((fold) => !fold.open);
  for (const fold of folded) fold.open = true;
});
addEventListener("afterprint", () => {
  for (const fold of folded) fold.open = false;
});
