"use strict";
// Ties the parts together: one selection, the address, keys, hooks for automation.

(() => {
  const byId = id => document.getElementById(id);
  const colourSelect = byId("colour"), sortButton = byId("sort"), themeButton = byId("theme"), legendBox = byId("legend"), dialog = byId("keys");
  let selected = 0;

  // Opening and closing modules.
  const wayTo = item => { // open everything around an item and move windows so that it is shown
    let changed = false;
    for (let at = item; at !== 0; ) {
      const above = model.levelOf(at), { placed } = model.items(above), place = placed.indexOf(at), from = layout.windowOf(above).from;
      if (place >= 0 && (place < from || place >= from + layout.WINDOW)) {
        layout.windows.set(above, Math.max(0, Math.min(place - (layout.WINDOW >> 1), placed.length - layout.WINDOW)));
        layout.forget(above);
        changed = true;
      }
      if (!layout.open.has(above)) { layout.open.add(above); layout.forget(above); changed = true; }
      at = above;
    }
    return changed;
  };
  const setOpen = (m, open) => {
    if (m === 0 || !model.inside[m] || layout.open.has(m) === open) return;
    if (open) layout.open.add(m); else layout.open.delete(m);
    layout.forget(m);
    graph.anchored(m, graph.draw);
    graph.reveal(m);
    legend();
  };
  const toggle = item => { if (model.isModule(item) && item !== 0) { if (wayTo(item)) graph.draw(); setOpen(item, !layout.open.has(item)); } };
  const openLevel = item => { // every module of the item's level, as long as that stays a picture
    const level = model.isModule(item) && layout.open.has(item) ? item : model.levelOf(item);
    const { all, from, to } = layout.windowOf(Math.max(0, level)), closed = all.slice(from, to).filter(each => model.isModule(each) && !layout.open.has(each)).slice(0, 40);
    for (const each of closed) { layout.open.add(each); layout.forget(each); }
    if (closed.length) { graph.anchored(item, graph.draw); legend(); }
  };
  const closeAll = () => {
    layout.open.clear();
    layout.open.add(0);
    for (let m = 0; m < model.moduleCount; m++) layout.forget(m);
    let at = selected;
    while (at !== 0 && model.levelOf(at) !== 0) at = model.levelOf(at);
    graph.draw();
    graph.start();
    select(at);
    legend();
  };
  const move = (m, direction) => {
    const { from, all } = layout.windowOf(m);
    const to = direction === "before" ? Math.max(0, from - layout.WINDOW) : Math.min(from + layout.WINDOW, Math.max(0, all.length - 1));
    layout.windows.set(m, to);
    layout.forget(m);
    graph.draw();
    graph.reveal(layout.windowOf(m).all[layout.windowOf(m).from]);
    legend();
  };

  // Selection and address: #path for a module, #n:key for a node; a module whose path looks like one has m: before it.
  const address = item => {
    if (item === 0) return "";
    const id = model.isModule(item) && !/^[mn]:/.test(model.paths[item]) ? model.paths[item] : model.itemId(item);
    return encodeURIComponent(id).replace(/%2F/g, "/").replace(/%3A/g, ":");
  };
  const local = location.protocol === "about:"; // in an iframe of a notebook there is no address of our own
  let keyed = null;
  const itemAt = hash => {
    let id = hash.replace(/^#/, "");
    try { id = decodeURIComponent(id); } catch (error) { if (!(error instanceof URIError)) throw error; }
    if (model.byPath.has(id)) return model.byPath.get(id);
    if (id.startsWith("m:")) return model.byPath.get(id.slice(2));
    if (!id.startsWith("n:")) return undefined;
    if (!keyed) { keyed = new Map(); for (let i = 0; i < model.nodeCount; i++) keyed.set(model.key(i), i); }
    const node = keyed.get(id.slice(2));
    return node === undefined ? undefined : model.itemOf(node);
  };
  const select = (item, { show = true, remember = true } = {}) => {
    if (item === null || item === undefined) return;
    selected = item;
    if (wayTo(item)) { graph.draw(); legend(); }
    graph.mark(item);
    if (show && item !== 0) graph.reveal(item);
    tree.select(model.moduleOf(item));
    details.show(item);
    if (remember && !local) history.replaceState(null, "", "#" + address(item));
  };
  if (!local) addEventListener("hashchange", () => { const item = itemAt(location.hash); if (item !== undefined && item !== selected) select(item, { remember: false }); });

  // Colour, legend, sorting.
  const recolour = () => {
    graph.draw();
    tree.redraw();
    legend();
    const overlay = colours.overlay;
    sortButton.hidden = !overlay;
    sortButton.textContent = tree.sorted && overlay ? `by ${overlay.name}` : "in file order";
    sortButton.title = "Order of the rows (s)";
    if (!overlay && tree.sorted) sort(false);
  };
  const sort = on => { tree.sort(on); sortButton.setAttribute("aria-pressed", on); recolour(); };
  const legend = () => {
    const { title, rows, ramp, unit } = colours.legend(graph.places().keys()), parts = [];
    const make = (name, className, text) => { const e = document.createElement(name); e.className = className; if (text !== undefined) e.textContent = text; return e; };
    parts.push(make("p", "title", title + (unit && !title.startsWith(unit) ? `, ${unit}` : "")));
    if (ramp) {
      const box = make("div", "ramp");
      for (const [colour, text] of ramp) { const step = make("span", "step"), chip = make("i", ""); chip.style.background = colour; step.append(chip, make("b", "", text)); box.append(step); }
      parts.push(box);
    }
    for (const [colour, text, kind] of rows) {
      const row = make("div", "entry " + kind), chip = make("i", "");
      chip.style.background = colour;
      row.append(chip, make("span", "", text));
      parts.push(row);
    }
    if (guesses) { const row = make("div", "entry guess-note"), chip = make("i", "dashed", "?"); row.append(chip, make("span", "", "dashed: a guess")); parts.push(row); }
    if (model.marked) for (const [sign, text] of [["+", "added"], ["~", "changed"], ["\u2212", "removed"]]) if (Object.values(model.marked.marks).includes(text)) { const row = make("div", "entry"); row.append(make("i", "sign", sign), make("span", "", `${text} (diff)`)); parts.push(row); }
    legendBox.replaceChildren(...parts);
  };
  const guesses = model.guessedIn[0];

  for (const [value, text] of [["class", "class"], ["source", "source"], ["confidence", "confidence"], ...model.overlays.map(o => ["overlay:" + o.name, o.name])]) colourSelect.add(new Option(text, value));
  colourSelect.addEventListener("change", () => { colours.setMode(colourSelect.value); recolour(); });
  sortButton.addEventListener("click", () => sort(!tree.sorted));

  // Light and dark.
  const themes = ["", "light", "dark"], names = { "": "Auto", light: "Light", dark: "Dark" };
  const setTheme = theme => { if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme; themeButton.textContent = names[theme]; graph.paint(); legend(); };
  themeButton.addEventListener("click", () => { setTheme(themes[(themes.indexOf(document.documentElement.dataset.theme || "") + 1) % 3]); });
  colours.dark.addEventListener("change", () => { graph.paint(); legend(); });

  // Keys.
  const KEYS = [
    ["/", "search"], ["arrows", "go to the next item in the graph or row in the tree"], ["Enter, space", "open or close the module"], ["o", "open all modules of this level"], ["u", "go to the module around"], ["page up, down", "earlier or later items of a level of more than 250"],
    ["x", "close everything"], ["f", "fit everything"], ["+  \u2212  0", "zoom"], ["shift + arrows", "pan"], ["c", "next colour"], ["s", "sort rows by the overlay"], ["t", "light, dark"], ["g, m, d", "go to graph, modules, details"], ["Esc", "leave the search, close this"], ["?", "these keys"],
    ["mouse", "drag or wheel pans, ctrl + wheel zooms, double click opens"],
  ];
  const help = () => {
    const list = document.createElement("dl");
    for (const [key, text] of KEYS) { const dt = document.createElement("dt"), kbd = document.createElement("kbd"), dd = document.createElement("dd"); kbd.textContent = key; dt.append(kbd); dd.textContent = text; list.append(dt, dd); }
    const title = document.createElement("h2"), close = document.createElement("button");
    title.textContent = "Keys";
    close.textContent = "Close";
    close.type = "button";
    close.addEventListener("click", () => dialog.close());
    dialog.replaceChildren(title, list, close);
    dialog.showModal();
  };
  byId("help").addEventListener("click", help);
  const page = direction => { // the window of the level that the selection is in, or of a selected open module
    const level = Math.max(0, model.isModule(selected) && layout.open.has(selected) ? selected : model.levelOf(selected));
    const { from, to, all } = layout.windowOf(level);
    if (direction === "before" ? from > 0 : to < all.length) { move(level, direction); select(layout.windowOf(level).all[layout.windowOf(level).from]); graph.focusItem(selected); }
  };
  const step = (dx, dy) => { const next = graph.neighbour(selected, dx, dy) ?? (selected === 0 ? model.items(0).placed[0] : null); if (next !== null && next !== undefined) { select(next); graph.focusItem(next); } };
  addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    const target = event.target, inField = /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName), inGraph = graph.svg.contains(target) || target === document.body;
    if (inField) return;
    const arrows = { ArrowDown: [0, 1], ArrowUp: [0, -1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
    const actions = {
      "/": () => search.focus(), "?": help, f: () => graph.fitAll(), "+": () => graph.zoomAt(1.25), "=": () => graph.zoomAt(1.25), "-": () => graph.zoomAt(.8), 0: () => graph.one(),
      c: () => { colourSelect.selectedIndex = (colourSelect.selectedIndex + 1) % colourSelect.length; colourSelect.dispatchEvent(new Event("change")); },
      s: () => { if (colours.overlay) sort(!tree.sorted); }, t: () => themeButton.click(), o: () => openLevel(selected), x: closeAll,
      u: () => { if (selected !== 0) { select(model.levelOf(selected)); graph.focusItem(selected); } },
      PageUp: () => page("before"), PageDown: () => page("after"),
      g: () => { graph.svg.focus(); graph.focusItem(selected); }, m: () => tree.focus(), d: () => byId("details").focus(),
    };
    if (arrows[event.key] && inGraph) {
      event.preventDefault();
      const [dx, dy] = arrows[event.key];
      if (event.shiftKey) graph.pan(-80 * dx, -80 * dy); else step(dx, dy);
    } else if ((event.key === "Enter" || event.key === " ") && inGraph) {
      event.preventDefault();
      const more = target.closest && target.closest(".more");
      if (more) more.dispatchEvent(new MouseEvent("click"));
      else { toggle(selected); graph.focusItem(selected); }
    } else if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
  });
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => ({ in: () => graph.zoomAt(1.25), out: () => graph.zoomAt(.8), fit: () => graph.fitAll(), one: () => graph.one() })[button.dataset.zoom]());

  for (const part of [graph, tree]) Object.assign(part.listeners, { select: item => select(item), toggle: item => { if (item !== selected) select(item, { show: false }); toggle(item); } });
  graph.listeners.move = move;
  details.listeners.select = search.listeners.select = item => select(item);
  addEventListener("resize", () => graph.apply());

  const known = path => { const m = model.byPath.get(path); if (m === undefined) throw new RangeError(`no module ${JSON.stringify(path)}`); return m; };
  window.modelexport = {
    expand: path => { const m = known(path); if (wayTo(m)) graph.draw(); setOpen(m, true); },
    collapse: path => setOpen(known(path), false),
  };

  // Start.
  const plural = (count, name) => `${count.toLocaleString("en")} ${name}${count === 1 ? "" : "s"}`;
  byId("title").textContent = view.title;
  const facts = [view.total === model.nodeCount ? plural(model.nodeCount, "node") : `${model.nodeCount.toLocaleString("en")} of ${plural(view.total, "node")}`, plural(model.moduleCount, "module")];
  if (model.nodeCount) facts.push(guesses ? `${Math.round(100 * (1 - guesses / model.nodeCount))} % known, ${plural(guesses, "guess").replace("guesss", "guesses")}` : "every module known");
  if (view.selector) facts.push(view.selector);
  byId("facts").textContent = facts.join("  \u00b7  ");
  if (model.overlays.length) { colourSelect.value = "overlay:" + model.overlays[0].name; colours.setMode(colourSelect.value); }
  setThemeText();
  function setThemeText() { themeButton.textContent = names[document.documentElement.dataset.theme || ""]; }
  // A lone module, or a chain of them, says nothing closed.
  for (let m = 0; model.items(m).placed.length === 1 && model.isModule(model.items(m).placed[0]) && layout.open.size < 4; ) { m = model.items(m).placed[0]; layout.open.add(m); }
  recolour();
  graph.start();
  const at = itemAt(location.hash);
  select(at === undefined ? 0 : at, { remember: false });
  document.body.dataset.milliseconds = Math.round(performance.now());
  document.body.dataset.ready = "true";
})();
