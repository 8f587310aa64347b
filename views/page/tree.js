"use strict";
// The module tree. Rows are made when their parent opens; a level of very many rows shows a window of them.

const tree = (() => {
  const root = document.getElementById("tree"), WINDOW = 5000;
  const groups = new Map(), rows = new Map(), windows = new Map(); // by module
  const listeners = { select: () => {}, toggle: () => {} };
  let sorted = false, selected = 0;

  const element = (name, className, text) => {
    const found = document.createElement(name);
    if (className) found.className = className;
    if (text !== undefined) found.textContent = text;
    return found;
  };
  const value = m => { const of = colours.values(); return of ? of.get(m) : undefined; };
  const ordered = m => {
    const list = model.children[m];
    if (!sorted || !colours.overlay) return list;
    const number = each => value(each) ?? -Infinity;
    return [...list].sort((a, b) => number(b) - number(a) || a - b);
  };

  const row = m => {
    const item = element("div", "row" + (model.inside[m] ? "" : " empty") + (model.isGuess(m) ? " guess" : ""));
    item.setAttribute("role", "treeitem");
    item.setAttribute("aria-level", model.level[m] + 1);
    item.setAttribute("aria-selected", m === selected);
    item.setAttribute("data-path", model.paths[m]);
    item.tabIndex = m === selected ? 0 : -1;
    if (model.children[m].length) item.setAttribute("aria-expanded", groups.has(m));
    item.style.setProperty("--level", model.level[m]);
    item.title = `${model.paths[m] || "(root)"}${model.qualified(m) ? "\n" + model.qualified(m) : ""}`;
    const twist = element("span", "twist");
    twist.setAttribute("aria-hidden", "true");
    const number = element("span", "number");
    item.append(twist, element("span", "name", model.shortName(m)), element("span", "cls", model.className(m)), number);
    const bar = element("span", "bar");
    bar.setAttribute("aria-hidden", "true");
    item.append(bar);
    item.module = m;
    dress(item);
    rows.set(m, item);
    return item;
  };
  const dress = item => { // number and bar: of the overlay where one is chosen, else nodes inside
    const m = item.module, overlay = colours.overlay, number = item.querySelector(".number"), bar = item.querySelector(".bar");
    const v = value(m);
    number.textContent = overlay ? (v === undefined ? "" : colours.format(v, "")) : model.inside[m].toLocaleString("en");
    number.title = overlay ? (v === undefined ? "no number" : `${overlay.name} ${colours.format(v, overlay.unit)}; ${model.inside[m]} nodes`) : `${model.inside[m]} nodes inside`;
    const most = overlay ? value(0) !== undefined && overlay.aggregate === "sum" ? value(0) : largest() : 0;
    const share = v === undefined || !(most > 0) ? 0 : v === Infinity ? 1 : Math.max(0, Math.min(1, v / most));
    bar.style.width = overlay ? `calc(${(100 * share).toFixed(2)}% - 2px)` : "0";
  };
  let most = null;
  const largest = () => {
    if (most === null) { most = 0; for (const v of colours.values().values()) if (Number.isFinite(v)) most = Math.max(most, v); }
    return most;
  };

  const fill = m => {
    const group = groups.get(m), list = ordered(m), from = Math.min(windows.get(m) || 0, Math.max(0, list.length - 1)), to = Math.min(list.length, from + WINDOW);
    const parts = document.createDocumentFragment();
    if (from) parts.append(more(m, -1, `${from.toLocaleString("en")} before \u2026`));
    for (const child of list.slice(from, to)) {
      parts.append(row(child));
      if (groups.has(child)) { parts.append(groups.get(child)); fill(child); }
    }
    if (to < list.length) parts.append(more(m, 1, `\u2026 ${(list.length - to).toLocaleString("en")} after`));
    group.replaceChildren(parts);
  };
  const more = (m, direction, text) => {
    const button = element("button", "more", text);
    button.type = "button";
    button.style.setProperty("--level", model.level[m] + 1);
    button.addEventListener("click", () => { windows.set(m, Math.max(0, (windows.get(m) || 0) + direction * WINDOW)); fill(m); });
    return button;
  };
  const open = m => {
    if (groups.has(m) || !model.children[m].length) return;
    const group = element("div");
    group.setAttribute("role", "group");
    groups.set(m, group);
    rows.get(m).setAttribute("aria-expanded", "true");
    rows.get(m).after(group);
    fill(m);
  };
  const close = m => {
    const group = groups.get(m);
    if (!group) return;
    for (const inner of [...groups.keys()]) if (model.within(inner, m)) groups.delete(inner);
    group.remove();
    rows.get(m).setAttribute("aria-expanded", "false");
    if (selected !== m && model.within(selected, m)) rows.get(m).tabIndex = 0;
  };

  const select = m => {
    const way = [];
    for (let at = model.parent[m]; at >= 0; at = model.parent[at]) way.unshift(at);
    for (const at of way) {
      const child = at === way[way.length - 1] ? m : way[way.indexOf(at) + 1];
      const list = ordered(at), place = list.indexOf(child), from = windows.get(at) || 0;
      if (place < from || place >= from + WINDOW) { windows.set(at, Math.max(0, place - WINDOW / 2)); if (groups.has(at)) fill(at); }
      open(at);
    }
    for (const each of root.querySelectorAll("[aria-selected=true], [tabindex='0']")) { each.setAttribute("aria-selected", "false"); each.tabIndex = -1; }
    selected = m;
    const found = rows.get(m);
    found.setAttribute("aria-selected", "true");
    found.tabIndex = 0;
    found.scrollIntoView({ block: "nearest" });
  };

  const redraw = () => { // after another colour was chosen
    most = null;
    if (sorted && groups.has(0)) fill(0);
    else for (const item of root.querySelectorAll(".row")) dress(item);
  };
  const sort = on => { sorted = on; for (const m of groups.keys()) windows.delete(m); if (groups.has(0)) fill(0); select(selected); };

  const visible = () => [...root.querySelectorAll(".row")];
  root.addEventListener("click", event => {
    const item = event.target.closest(".row");
    if (!item) return;
    if (event.target.classList.contains("twist")) { groups.has(item.module) ? close(item.module) : open(item.module); item.focus(); return; }
    listeners.select(item.module);
    rows.get(item.module).focus({ preventScroll: true });
  });
  root.addEventListener("dblclick", event => { const item = event.target.closest(".row"); if (item && !event.target.classList.contains("twist")) listeners.toggle(item.module); });
  let typed = "", typedAt = 0;
  root.addEventListener("keydown", event => {
    const item = event.target.closest(".row");
    if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
    const m = item.module, list = visible(), at = list.indexOf(item), go = target => { if (target) { listeners.select(target.module); rows.get(target.module).focus(); } };
    const actions = {
      ArrowDown: () => go(list[at + 1]), ArrowUp: () => go(list[at - 1]), Home: () => go(list[0]), End: () => go(list[list.length - 1]),
      ArrowRight: () => groups.has(m) ? go(rows.get(ordered(m)[windows.get(m) || 0])) : open(m),
      ArrowLeft: () => groups.has(m) ? close(m) : model.parent[m] >= 0 && go(rows.get(model.parent[m])),
      Enter: () => listeners.toggle(m), " ": () => listeners.toggle(m), "*": () => { const above = model.parent[m]; if (above >= 0) for (const each of ordered(above).slice(0, 50)) if (rows.has(each) && rows.get(each).isConnected) open(each); },
    };
    if (actions[event.key]) { event.preventDefault(); event.stopPropagation(); actions[event.key](); return; }
    if (event.key.length === 1 && /[\p{L}\p{N}_]/u.test(event.key) && !"fF".includes(event.key)) { // find by typing
      typed = event.timeStamp - typedAt < 700 ? typed + event.key.toLowerCase() : event.key.toLowerCase();
      typedAt = event.timeStamp;
      const hit = [...list.slice(at + (typed.length > 1 ? 0 : 1)), ...list].find(each => model.shortName(each.module).toLowerCase().startsWith(typed));
      if (hit) { event.stopPropagation(); go(hit); }
    }
  });

  root.append(row(0));
  open(0);
  return { select, redraw, sort, listeners, focus: () => { const found = root.querySelector("[tabindex='0']"); if (found) found.focus(); }, get sorted() { return sorted; } };
})();
