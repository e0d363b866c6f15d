// SPDX-License-Identifier: GPL-2.0-only
// Filters the rows, moves among them by keyboard, and shows the unwind of one as a tree.
"use strict";
const start = () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const make = (name, text, kind) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  };
  const form = byId("filters"), panel = byId("panel"), unwind = byId("unwind"), words = byId("words");
  const theme = byId("theme"), tables = byId("tables");
  const BATCH = 250;

  const rows = data.rows.map((entry, n) => {
    const [backend, fault, result, params, labels, findings, tree, command, idle, columns] = entry;
    const element = byId("r" + n), section = element.closest("section");
    const found = findings.map(([id, own]) => {
      const [judge, message, resource, label, acquired, commit] = data.findings[id];
      return { judge, message, resource, label, acquired, commit, own: own === 1 };
    });
    return {
      n, element, section, button: element.querySelector("button"), backend, fault: fault || "no fault", result,
      params: data.params[params].map(([name, value]) => name + "=" + value),
      labels: labels.map((id) => data.labels[id]), found, tree,
      command: data.strings[command], idle: idle === 1, columns: data.columns[columns], text: null,
    };
  });
  const sections = [...document.querySelectorAll("section.backend")].map((element) => ({
    element, count: element.querySelector("caption span"),
  }));

  // Filters.
  const textOf = (row) => {
    if (row.text === null) {
      row.text = [row.fault, row.result, ...row.labels, ...row.found.flatMap((f) => [f.judge, f.message, f.commit])]
        .join("\n").toLowerCase();
    }
    return row.text;
  };
  const suits = (row, want) =>
    (!want.backend || row.backend === want.backend) &&
    (!want.param || row.params.includes(want.param)) &&
    (!want.result || row.result === want.result) &&
    (!want.label || (want.label === "-" ? !row.labels.length : row.labels.includes(want.label))) &&
    (!want.finding ||
      (want.finding === "-" ? !row.found.length
        : want.finding === "+" ? row.found.some((f) => f.own)
        : row.found.some((f) => f.judge === want.finding))) &&
    want.words.every((word) => textOf(row).includes(word));

  let shown = rows;
  let here = null;
  const filter = () => {
    const want = Object.fromEntries(new FormData(form));
    want.words = want.text.toLowerCase().split(/\s+/).filter(Boolean);
    shown = [];
    const counts = new Map();
    for (const row of rows) {
      if (!suits(row, want)) row.element.hidden = true;
      else {
        shown.push(row);
        counts.set(row.section, (counts.get(row.section) || 0) + 1);
      }
    }
    for (const section of sections) {
      const count = counts.get(section.element) || 0;
      section.element.hidden = count === 0;
      section.count.textContent = count + (count === 1 ? " run" : " runs");
    }
    byId("count").textContent = shown.length + " of " + rows.length + " rows";
    if (!shown.includes(here)) rove(shown[0] || null);
    reveal(0);
  };
  // Cells are many: rows come into sight some at a time, so that the page answers meanwhile.
  let turn = 0;
  const reveal = (from) => {
    cancelAnimationFrame(turn);
    let n = from;
    for (let more = 0; n < shown.length && more < BATCH; n++) {
      if (!shown[n].element.hidden) continue;
      shown[n].element.hidden = false;
      more++;
    }
    tables.setAttribute("aria-busy", String(n < shown.length));
    if (n < shown.length) turn = requestAnimationFrame(() => reveal(n));
  };

  // One row is in the order of the Tab key; arrows go to the others.
  const rove = (row) => {
    if (here) here.button.tabIndex = -1;
    here = row;
    if (here) here.button.tabIndex = 0;
  };
  const go = (row) => {
    row.element.hidden = false;
    rove(row);
    row.button.focus();
    if (!panel.hidden) show(row);
  };
  const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -Infinity, End: Infinity };
  tables.addEventListener("keydown", (event) => {
    if (!event.target.matches("tbody th button") || event.altKey || event.ctrlKey || event.metaKey) return;
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const to = Math.max(0, Math.min(shown.length - 1, shown.indexOf(here) + step));
    if (shown[to]) go(shown[to]);
  });
  tables.addEventListener("click", (event) => {
    const element = event.target.closest("tbody tr");
    if (!element || String(getSelection()) !== "") return;
    const row = rows[Number(element.id.slice(1))];
    rove(row);
    show(row);
    const first = unwind.querySelector('[tabindex="0"]');
    if (first) first.focus();
  });

  // The panel.
  let open = null;
  const hide = () => {
    if (panel.hidden) return;
    panel.hidden = true;
    if (open) {
      open.element.removeAttribute("aria-current");
      open.button.removeAttribute("aria-expanded");
      rove(open);
      open.button.focus();
    }
    open = null;
  };
  const show = (row) => {
    if (open === row) return;
    if (open) {
      open.element.removeAttribute("aria-current");
      open.button.removeAttribute("aria-expanded");
    }
    open = row;
    row.element.setAttribute("aria-current", "true");
    row.button.setAttribute("aria-expanded", "true");
    byId("panel-title").textContent = [row.backend, ...row.params, row.fault].join(", ") + ": " + row.result;
    const tree = make("ul");
    tree.setAttribute("role", "tree");
    tree.setAttribute("aria-label", "unwind of " + row.fault);
    row.tree.forEach((id) => tree.append(item(id, 1, null)));
    unwind.replaceChildren(tree);
    const first = tree.querySelector(".inject") || tree.querySelector("[role=treeitem]");
    if (first) first.closest("[role=treeitem]").tabIndex = 0;
    tell(row);
    panel.hidden = false;
    row.element.scrollIntoView({ block: "nearest" });
    unwind.scrollTop = 0;
  };
  const term = (list, name, text) => {
    if (!text) return;
    const pair = make("div");
    pair.append(make("dt", name), make("dd", text));
    list.append(pair);
  };
  const tell = (row) => {
    words.replaceChildren();
    if (row.idle) words.append(make("h3", "The fault never fired"));
    words.append(make("h3", row.found.length ? "Findings" : "No findings"));
    for (const finding of row.found) {
      const box = make("div", undefined, finding.own ? "finding" : "finding always");
      const line = make("p");
      line.append(make("b", finding.judge), ": " + finding.message);
      const list = make("dl");
      term(list, "label", finding.label);
      term(list, "acquired", finding.acquired);
      term(list, "mended by", finding.commit);
      if (!finding.own) term(list, "note", "found without this fault, too");
      box.append(line, list);
      words.append(box);
    }
    words.append(make("h3", "Resources"));
    const of = new Map();
    const cells = [...row.element.cells].slice(-row.columns.length || undefined);
    row.columns.forEach((name, n) => {
      const fate = cells[n].textContent.trim();
      of.set(fate, [...(of.get(fate) || []), name]);
    });
    const list = make("ul");
    for (const [fate, names] of of) {
      const entry = make("li");
      entry.append(make("b", fate), ": ");
      entry.append(make("code", names.join(", ")));
      list.append(entry);
    }
    words.append(list, make("h3", "Run it again"));
    const command = make("div", undefined, "command");
    const copy = make("button", "copy", "copy");
    copy.type = "button";
    const code = make("code", row.command);
    command.append(code, copy);
    words.append(command);
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(row.command);
        copy.textContent = "copied";
      } catch {
        // The browser does not let the page write: what is to be copied is marked.
        getSelection().selectAllChildren(code);
        copy.textContent = "marked";
      }
    });
  };

  // The tree. What is not open is not made.
  const isBad = (kind, gave) => kind !== "write" && gave !== "" && gave !== "ptr" && !/^\d/.test(gave);
  const hot = new Map();
  const isHot = (id) => {
    if (!hot.has(id)) {
      const [kind, , result, , , inner] = data.nodes[id];
      hot.set(id, kind === "inject" || kind === "goto" || kind === "warn" ||
        isBad(kind, data.strings[result]) || inner.some(isHot));
    }
    return hot.get(id);
  };
  const item = (id, level, above) => {
    const [kind, text, result, place, deed, inner] = data.nodes[id];
    const [task, cpu] = data.places[place];
    const element = make("li");
    element.setAttribute("role", "treeitem");
    element.setAttribute("aria-level", level);
    element.tabIndex = -1;
    const line = make("div", undefined, "node " + kind);
    const at = cpu < 0 ? "" : String(cpu).padStart(4) + "  " + task;
    line.append(make("span", at, "at"));
    const what = make("span", undefined, "what");
    what.style.setProperty("--level", level - 1);
    const shownText = data.strings[text], gave = data.strings[result], done = data.strings[deed];
    const said = kind === "goto" ? "goto " + shownText + ";" : kind === "inject" ? "injected: " + shownText : shownText;
    what.append(make(kind === "call" ? "span" : "b", said));
    let spoken = said;
    if (gave) {
      const sign = kind === "write" || kind === "goto" ? "  " : kind === "step" || kind === "later" ? ": " : " = ";
      what.append(make("span", sign + gave, isBad(kind, gave) ? "bad" : "gave"));
      spoken += sign + gave;
    }
    if (done) {
      const verb = done[0] === "+" ? "acquires " : "releases ";
      what.append(make("span", "   " + verb + done.slice(1), done[0] === "+" ? "deed" : "deed minus"));
      spoken += ", " + verb + done.slice(1);
    }
    line.append(what);
    element.append(line);
    element.setAttribute("aria-label", cpu < 0 ? spoken : spoken + ", CPU " + cpu + ", " + task);
    element.inner = inner;
    element.level = level;
    if (inner.length) {
      element.setAttribute("aria-expanded", "false");
      if (kind !== "later" && isHot(id)) unfold(element);
    }
    return element;
  };
  const unfold = (element, all) => {
    if (!element.hasAttribute("aria-expanded")) return;
    if (!element.group) {
      element.group = make("ul");
      element.group.setAttribute("role", "group");
      element.inner.forEach((id) => element.group.append(item(id, element.level + 1)));
      element.append(element.group);
    }
    element.group.hidden = false;
    element.setAttribute("aria-expanded", "true");
    if (all) [...element.group.children].forEach((child) => unfold(child, true));
  };
  const fold = (element) => {
    if (element.group) element.group.hidden = true;
    element.setAttribute("aria-expanded", "false");
  };
  const isOpen = (element) => element.getAttribute("aria-expanded") === "true";
  const above = (element) => element.parentElement.closest("[role=treeitem]");
  const visible = () => [...unwind.querySelectorAll("[role=treeitem]")].filter((e) => e.offsetParent !== null);
  const attend = (element) => {
    for (const other of unwind.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    element.tabIndex = 0;
    element.focus();
  };
  unwind.addEventListener("click", (event) => {
    const line = event.target.closest(".node");
    if (!line || String(getSelection()) !== "") return;
    const element = line.parentElement;
    if (isOpen(element)) fold(element);
    else unfold(element);
    attend(element);
  });
  unwind.addEventListener("keydown", (event) => {
    const element = event.target.closest("[role=treeitem]");
    if (!element || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = visible(), at = all.indexOf(element);
    if (event.key === "ArrowDown") attend(all[Math.min(at + 1, all.length - 1)]);
    else if (event.key === "ArrowUp") attend(all[Math.max(at - 1, 0)]);
    else if (event.key === "Home") attend(all[0]);
    else if (event.key === "End") attend(all[all.length - 1]);
    else if (event.key === "ArrowRight") {
      if (!isOpen(element)) unfold(element);
      else attend(element.group.firstElementChild);
    } else if (event.key === "ArrowLeft") {
      if (isOpen(element)) fold(element);
      else if (above(element)) attend(above(element));
    } else if (event.key === "Enter" || event.key === " ") {
      if (isOpen(element)) fold(element);
      else unfold(element);
    } else if (event.key === "*") unfold(element, true);
    else return;
    event.preventDefault();
  });
  byId("expand").addEventListener("click", () => {
    for (const element of unwind.querySelectorAll("[role=tree] > [role=treeitem]")) unfold(element, true);
  });
  byId("close").addEventListener("click", hide);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !panel.hidden && event.target !== form.elements.text) {
      event.preventDefault();
      hide();
    }
  });

  theme.addEventListener("change", () => {
    if (theme.value) document.documentElement.dataset.theme = theme.value;
    else delete document.documentElement.dataset.theme;
  });
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  for (const row of rows) {
    row.button.tabIndex = -1;
    row.element.hidden = true;
  }
  form.hidden = false;
  theme.parentElement.hidden = false;
  filter();
  addEventListener("beforeprint", () => shown.forEach((row) => { row.element.hidden = false; }));
};
try {
  start();
} finally {
  document.documentElement.classList.add("ready");
}
