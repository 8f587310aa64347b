"use strict";
// The graph: draws what the layout placed, pans, zooms, and keeps titles of open modules in sight.

const graph = (() => {
  const svg = document.getElementById("graph"), scene = document.getElementById("scene");
  const itemLayer = document.getElementById("items"), titleLayer = document.getElementById("titles");
  const NS = "http://www.w3.org/2000/svg";
  const make = (name, attributes, text) => {
    const element = document.createElementNS(NS, name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  let camera = { x: 0, y: 0, k: 1 }, places = new Map(), elements = new Map(), opened = [], total = { width: 0, height: 0 }, selected = null, focus = null;
  let edgeElements = [];
  const listeners = { select: () => {}, toggle: () => {}, move: () => {} };

  // Absolute boxes of everything shown.
  const draw = () => {
    places = new Map(); elements = new Map(); opened = []; edgeElements = [];
    const items = document.createDocumentFragment(), root = layout.level(0);
    total = { width: root.width, height: root.height };
    walk(root, 0, 0, items, 0);
    colours.setScale([...places.keys()].filter(item => !(model.isModule(item) && layout.open.has(item))));
    itemLayer.replaceChildren(items);
    titleLayer.replaceChildren(...opened.map(each => each.title));
    paint();
    if (selected !== null) mark(selected);
    apply();
  };

  const walk = (level, x0, y0, items, depth) => { // an open module is drawn under its edges, and these under its items
    for (const edge of level.edges) items.append(line(edge, x0, y0));
    for (const box of level.boxes.values()) {
      const x = x0 + box.x, y = y0 + box.y, place = { x, y, w: box.w, h: box.h, item: box.item, depth, level: level.module };
      places.set(box.item, place);
      const element = box.inner ? frame(place) : closed(place, box.empty);
      elements.set(box.item, element);
      items.append(element);
      if (box.inner) walk(box.inner, x, y, items, depth + 1);
    }
    for (const [direction, count, at] of [["before", level.before, level.module ? layout.HEAD : layout.PAD], ["after", level.after, level.height - layout.MORE - layout.PAD / 2]]) {
      if (!count) continue;
      const more = make("g", { class: "more", "data-more": model.paths[level.module], "data-direction": direction, tabindex: "-1", role: "button", transform: `translate(${x0 + layout.PAD},${y0 + at})` });
      const text = direction === "before" ? `${count.toLocaleString("en")} before \u2026` : `\u2026 ${count.toLocaleString("en")} after`;
      more.append(make("rect", { width: 172, height: 20, rx: 10 }), make("text", { x: 86, y: 14, "text-anchor": "middle" }, text));
      more.addEventListener("click", event => { event.stopPropagation(); listeners.move(level.module, direction); });
      items.append(more);
    }
  };

  const base = (place, kind, extra) => {
    const item = place.item, m = model.moduleOf(item), isModule = model.isModule(item);
    const group = make("g", {
      class: `item ${kind}${model.isGuess(item) ? " guess" : ""}`, transform: `translate(${place.x},${place.y})`, tabindex: "-1", role: "button",
      "data-kind": isModule ? "module" : "node", "data-path": model.paths[m], "data-id": model.itemId(item), ...extra,
    });
    if (!isModule) group.setAttribute("data-node", view.nodes.name[model.nodeOf(item)]);
    group.item = item;
    const name = isModule ? `${model.paths[item] || "(root)"}${model.qualified(item) ? "\n" + model.qualified(item) : ""}` : `${model.operator(model.nodeOf(item))}\n${model.key(model.nodeOf(item))}`;
    const guess = model.isGuess(item) ? `\nguess: ${model.source(item) || "no tag"}, confidence ${model.confidence(item)}` : "";
    group.append(make("title", {}, name + guess));
    group.setAttribute("aria-label", isModule ? `module ${model.paths[item] || "root"} ${model.className(item)}, ${model.inside[item]} nodes` : `${model.operator(model.nodeOf(item))}${guess.replace("\n", ", ")}`);
    return group;
  };

  const closed = (place, empty) => {
    const item = place.item, isModule = model.isModule(item);
    const group = base(place, isModule ? (empty ? "module empty" : "module") : "node", isModule ? { "data-expanded": "false" } : {});
    group.append(make("rect", { class: "box", width: place.w, height: place.h, rx: isModule ? 7 : 14 }));
    if (empty) {
      const name = layout.fit(model.shortName(item), layout.FONTS.small);
      const text = make("text", { class: "small", x: 11, y: 16 }, name);
      if (model.className(item)) text.append(make("tspan", { dx: 6, class: "cls" }, layout.fit(model.className(item), layout.FONTS.small)));
      group.append(text);
      return group;
    }
    const lines = layout.labels(item);
    if (isModule) {
      group.append(make("text", { class: "name", x: 13, y: 19 }, lines[0]), make("text", { class: "small", x: 13, y: 35 }, lines[1]));
      group.append(make("path", { class: "stack", d: `M${place.w - 16} 10h7M${place.w - 12.5} 6.5v7` }));
      if (model.guessedIn[item] && !model.isGuess(item)) {
        const dot = make("g", { class: "some-guess", transform: `translate(${place.w - 12},${place.h - 11})` });
        dot.append(make("text", { "text-anchor": "middle", y: 4 }, "?"), make("title", {}, `${model.guessedIn[item]} of ${model.inside[item]} nodes are guesses`));
        group.append(dot);
      }
    } else {
      group.append(make("text", { class: "op", x: place.w / 2, y: 18, "text-anchor": "middle" }, lines[0]));
    }
    if (model.isGuess(item)) group.append(make("text", { class: "query", x: place.w - 13, y: isModule ? 35 : 18 }, "?"));
    const mark = model.mark(item);
    if (mark) group.append(make("text", { class: "mark " + mark, x: 11, y: 18 }, { added: "+", removed: "\u2212", changed: "~" }[mark]));
    return group;
  };

  const frame = place => {
    const group = base(place, "module open", { "data-expanded": "true" });
    group.append(make("rect", { class: "frame", width: place.w, height: place.h, rx: 10 }));
    const title = make("g", { class: "title" });
    const item = place.item, name = layout.fit(model.shortName(item), layout.FONTS.name), cls = layout.fit(model.className(item), layout.FONTS.small);
    title.append(make("rect", { class: "head", width: place.w, height: layout.HEAD - 6, rx: 9 }), make("rect", { class: "swatch", x: 10, y: 8, width: 12, height: 12, rx: 3 }));
    const text = make("text", { class: "name", x: 29, y: 19 }, name);
    text.append(make("tspan", { dx: 8, class: "small" }, cls));
    title.append(text, make("path", { class: "stack", d: `M${place.w - 19} 14h8` }));
    title.addEventListener("click", event => { event.stopPropagation(); listeners.select(item); });
    title.addEventListener("dblclick", event => { event.stopPropagation(); listeners.toggle(item); });
    opened.push({ place, title });
    group.titleElement = title;
    return group;
  };

  const line = (edge, x0, y0) => {
    const points = edge.points.map(([x, y]) => [x + x0, y + y0]);
    const path = make("path", { class: "edge" + (edge.faint ? " faint" : "") + (edge.bent ? " bent" : ""), d: edge.bent ? cubic(points) : smooth(points), "data-from": model.itemId(edge.from), "data-to": model.itemId(edge.to), "marker-end": "url(#tip)" });
    const count = edge.values.size, first = edge.values.values().next().value;
    const type = view.types[view.values.type[first]];
    path.append(make("title", {}, `${count.toLocaleString("en")} value${count === 1 ? "" : "s"}: ${model.valueName(first)}${type ? " " + type : ""}${count > 1 ? ", \u2026" : ""}`));
    path.ends = [edge.from, edge.to];
    edgeElements.push(path);
    return path;
  };
  const cubic = p => `M${p[0]}C${p[1]} ${p[2]} ${p[3]}`;
  const smooth = points => { // straight through the way points, rounded at them
    if (points.length < 3) return "M" + points.join("L");
    let path = `M${points[0]}`;
    for (let at = 1; at < points.length - 1; at++) {
      const [a, b, c] = [points[at - 1], points[at], points[at + 1]];
      const near = (from, to) => { const length = Math.hypot(to[0] - from[0], to[1] - from[1]), s = Math.min(10, length / 2) / (length || 1); return [from[0] + (to[0] - from[0]) * s, from[1] + (to[1] - from[1]) * s]; };
      path += `L${near(b, a)}Q${b} ${near(b, c)}`;
    }
    return path + `L${points[points.length - 1]}`;
  };

  const paint = () => {
    for (const [item, element] of elements) {
      const colour = colours.colour(item), isOpen = element.titleElement;
      element.setAttribute("data-colour", colour);
      const target = isOpen ? element.titleElement.querySelector(".swatch") : element.querySelector(".box");
      if (!element.classList.contains("empty")) target.style.fill = colour;
      if (!isOpen && !element.classList.contains("empty")) element.style.setProperty("--ink", colours.ink(colour));
    }
  };

  // Titles of open modules stand at the top of what is visible of them, those of outer ones above.
  const apply = () => {
    scene.setAttribute("transform", `translate(${camera.x},${camera.y}) scale(${camera.k})`);
    const height = (layout.HEAD - 6) * camera.k, bottom = svg.clientHeight, right = svg.clientWidth;
    for (const { place, title } of opened) {
      const top = place.y * camera.k + camera.y, left = place.x * camera.k + camera.x, tall = place.h * camera.k, wide = place.w * camera.k;
      const wanted = Math.max(top, place.depth * height), y = Math.min(wanted, top + tall - height);
      const visible = top + tall > 0 && top < bottom && left + wide > 0 && left < right;
      title.setAttribute("visibility", visible ? "visible" : "hidden");
      if (!visible) continue;
      title.setAttribute("transform", `translate(${left},${y}) scale(${camera.k})`);
      title.classList.toggle("stuck", y > top + .5);
      const text = title.querySelector("text"), inset = Math.max(0, Math.min(-left / camera.k, place.w - 200));
      text.setAttribute("transform", inset > 0 ? `translate(${inset},0)` : "");
      title.querySelector(".swatch").setAttribute("x", 10 + inset);
    }
  };

  const clamp = k => Math.max(.02, Math.min(4, k));
  const zoomAt = (factor, x = svg.clientWidth / 2, y = svg.clientHeight / 2) => {
    const k = clamp(camera.k * factor);
    camera = { k, x: x - (x - camera.x) * k / camera.k, y: y - (y - camera.y) * k / camera.k };
    apply();
  };
  const pan = (dx, dy) => { camera = { ...camera, x: camera.x + dx, y: camera.y + dy }; apply(); };
  const fitAll = (least = .02) => {
    const w = svg.clientWidth, h = svg.clientHeight, most = w > 1400 ? 1.4 : 1.15;
    const k = clamp(Math.max(least, Math.min(most, (w - 24) / total.width, (h - 24) / total.height)));
    const y = total.height * k > h - 24 ? 12 : (h - total.height * k) / 2;
    camera = { k, x: (w - total.width * k) / 2, y: k > least ? y : 12 };
    apply();
  };
  const start = () => { fitAll(.62); if (total.width * camera.k > svg.clientWidth) { camera = { ...camera, x: (svg.clientWidth - total.width * camera.k) / 2 }; apply(); } };

  // Bring an item into view with as little movement as possible; what is larger than the view shows its top.
  const reveal = item => {
    const place = places.get(item);
    if (!place) return;
    if (camera.k < .35) { const k = .8; camera = { k, x: svg.clientWidth / 2 - (place.x + place.w / 2) * k, y: svg.clientHeight / 2 - (place.y + Math.min(place.h, 200) / 2) * k }; }
    const margin = 16, room = svg.clientWidth - 2 * margin;
    if (place.w * camera.k > room) zoomAt(Math.max(.45, room / place.w) / camera.k); // an open module that is wider than the view
    const k = camera.k, head = layout.HEAD * k * Math.min(place.depth + 1, 6);
    const w = svg.clientWidth, h = svg.clientHeight;
    const shift = (at, size, low, high) => size > high - low ? low - at : at < low ? low - at : at + size > high ? high - at - size : 0;
    camera = { ...camera, x: camera.x + shift(place.x * k + camera.x, place.w * k, margin, w - margin) };
    camera = { ...camera, y: camera.y + shift(place.y * k + camera.y, place.h * k, Math.min(head, h / 2), h - margin) };
    if (place.w * k > w - 2 * margin) camera = { ...camera, x: w / 2 - (place.x + place.w / 2) * k };
    apply();
  };
  const screen = item => { const p = places.get(item); return p && [(p.x + p.w / 2) * camera.k + camera.x, p.y * camera.k + camera.y]; };
  const anchored = (item, change) => { // the item stays where it is on the screen while the graph changes
    const before = screen(item);
    change();
    const after = screen(item);
    if (before && after) pan(before[0] - after[0], before[1] - after[1]);
  };

  const mark = item => {
    for (const element of itemLayer.querySelectorAll("[data-selected]")) { element.removeAttribute("data-selected"); element.classList.remove("near"); }
    for (const each of opened) each.title.classList.toggle("selected", each.place.item === item);
    selected = item;
    const element = elements.get(item);
    if (element) element.setAttribute("data-selected", "true");
    for (const edge of edgeElements) {
      const on = edge.ends[0] === item ? "out" : edge.ends[1] === item ? "in" : "";
      edge.classList.toggle("out", on === "out");
      edge.classList.toggle("in", on === "in");
    }
    for (const [each, other] of elements) other.setAttribute("tabindex", each === item ? "0" : "-1");
    focus = item;
  };

  // The shown item in a direction: along an edge where there is one, else the nearest.
  const neighbour = (item, dx, dy) => {
    const here = places.get(item);
    if (!here) return null;
    const centre = p => [p.x + p.w / 2, p.y + Math.min(p.h, 44) / 2], [x, y] = centre(here);
    const linked = new Set();
    if (dy) for (const edge of edgeElements) { if (edge.ends[dy > 0 ? 0 : 1] === item) linked.add(edge.ends[dy > 0 ? 1 : 0]); }
    let best = null, least = Infinity;
    for (const place of places.values()) {
      if (place.item === item || (model.levelOf(place.item) !== model.levelOf(item))) continue;
      const [ox, oy] = centre(place), along = (ox - x) * dx + (oy - y) * dy, across = Math.abs((ox - x) * dy) + Math.abs((oy - y) * dx);
      if (along <= 4) continue;
      const distance = along + 2.2 * across - (linked.has(place.item) ? 1e5 : 0);
      if (distance < least) { least = distance; best = place.item; }
    }
    return best;
  };

  // Mouse, wheel and touch.
  let drag = null;
  const pointers = new Map();
  svg.addEventListener("pointerdown", event => {
    if (event.button > 1) return;
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    drag = { x: event.clientX, y: event.clientY, moved: false };
  });
  window.addEventListener("pointermove", event => {
    if (!pointers.has(event.pointerId)) return;
    const before = pointers.get(event.pointerId), now = [event.clientX, event.clientY];
    if (pointers.size === 2) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1], box = svg.getBoundingClientRect();
      zoomAt(Math.hypot(now[0] - other[0], now[1] - other[1]) / (Math.hypot(before[0] - other[0], before[1] - other[1]) || 1), (now[0] + other[0]) / 2 - box.left, (now[1] + other[1]) / 2 - box.top);
    } else if (drag) {
      if (!drag.moved && Math.hypot(now[0] - drag.x, now[1] - drag.y) < 4) return;
      drag.moved = true;
      svg.classList.add("dragging");
      pan(now[0] - before[0], now[1] - before[1]);
    }
    pointers.set(event.pointerId, now);
  });
  const release = event => { pointers.delete(event.pointerId); svg.classList.remove("dragging"); };
  window.addEventListener("pointerup", release);
  window.addEventListener("pointercancel", release);
  svg.addEventListener("wheel", event => {
    event.preventDefault();
    const box = svg.getBoundingClientRect(), unit = event.deltaMode === 1 ? 16 : 1;
    if (event.ctrlKey || event.metaKey) zoomAt(Math.exp(-event.deltaY * unit * .004), event.clientX - box.left, event.clientY - box.top);
    else pan(-(event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX) * unit, event.shiftKey && !event.deltaX ? 0 : -event.deltaY * unit);
  }, { passive: false });
  const hit = event => event.target.closest && event.target.closest(".item");
  svg.addEventListener("click", event => { if (drag && drag.moved) return; const element = hit(event); if (element) listeners.select(element.item); });
  svg.addEventListener("dblclick", event => { const element = hit(event); if (element && model.isModule(element.item)) listeners.toggle(element.item); });

  return { svg, draw, paint, apply, zoomAt, pan, fitAll, start, reveal, anchored, mark, neighbour, listeners, places: () => places, focusItem: item => { const e = elements.get(item); if (e) e.focus({ preventScroll: true }); }, one: () => { zoomAt(1 / camera.k); } };
})();
