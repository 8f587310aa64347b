"use strict";
// Places of the items of one level, inner levels first. A level with many items shows a window of them.

const layout = (() => {
  const WINDOW = 250, NODE = 28, MODULE = 44, EMPTY = 24, HEAD = 34, PAD = 14, MORE = 26, GAP = 18, ROW = 30;
  const LONGEST = 220, DUMMIES = 300; // pixels of a name; places that edges across ranks may take
  const open = new Set([0]), windows = new Map(), cache = new Map();

  const canvas = document.createElement("canvas").getContext("2d");
  const widths = new Map();
  const textWidth = (text, font) => {
    const name = font + text;
    let found = widths.get(name);
    if (found === undefined) {
      canvas.font = font;
      found = canvas.measureText(text).width;
      if (widths.size > 20000) widths.clear();
      widths.set(name, found);
    }
    return found;
  };
  const FONTS = { name: "600 13px system-ui, sans-serif", small: "11px system-ui, sans-serif", node: "12.5px system-ui, sans-serif" };
  const fit = (text, font, most = LONGEST) => { // the text, or its ends around an ellipsis
    const plain = text.length > 200 ? text.slice(0, 200) : text;
    if (plain === text && textWidth(text, font) <= most) return text;
    let low = 2, high = plain.length;
    const cut = n => plain.slice(0, Math.ceil(n / 2)) + "\u2026" + text.slice(text.length - Math.floor(n / 2));
    while (low < high) { const n = (low + high + 1) >> 1; if (textWidth(cut(n), font) <= most) low = n; else high = n - 1; }
    return cut(low);
  };

  const labels = item => { // lines of a closed item
    if (!model.isModule(item)) return [fit(model.operator(model.nodeOf(item)), FONTS.node)];
    const cls = model.className(item), count = model.inside[item];
    return [fit(model.shortName(item), FONTS.name), fit((cls ? cls + "  \u00b7  " : "") + `${count.toLocaleString("en")} node${count === 1 ? "" : "s"}`, FONTS.small)];
  };
  const closedSize = item => {
    const lines = labels(item);
    if (!model.isModule(item)) return { w: Math.max(64, textWidth(lines[0], FONTS.node) + 28 + (model.mark(item) ? 12 : 0) + (model.isGuess(item) ? 10 : 0)), h: NODE };
    if (!model.inside[item]) return { w: textWidth(lines[0], FONTS.small) + textWidth(model.className(item), FONTS.small) * .97 + 30, h: EMPTY };
    return { w: Math.max(96, textWidth(lines[0], FONTS.name) + 44, textWidth(lines[1], FONTS.small) + (model.guessedIn[item] ? 40 : 26)), h: MODULE };
  };
  const headWidth = m => textWidth(fit(model.shortName(m), FONTS.name), FONTS.name) + textWidth(fit(model.className(m), FONTS.small), FONTS.small) + 70;

  const windowOf = m => {
    const all = model.items(m).placed, from = Math.min(windows.get(m) || 0, Math.max(0, all.length - 1));
    return { from, to: Math.min(all.length, from + WINDOW), all };
  };
  const forget = m => { for (; m >= 0; m = model.parent[m]) cache.delete(m); };

  // Item boxes, edges with their points, and the size of an open module, its head and border included.
  const level = m => {
    const known = cache.get(m);
    if (known) return known;
    const { from, to, all } = windowOf(m), shown = all.slice(from, to), shownSet = new Set(shown), boxes = new Map();
    for (const item of shown) {
      const inner = model.isModule(item) && open.has(item) ? level(item) : null;
      const { w, h } = inner ? { w: inner.width, h: inner.height } : closedSize(item);
      boxes.set(item, { item, w, h, x: 0, y: 0, inner });
    }
    const edges = model.edges(m, shownSet);
    const linked = new Set(), order = new Map(shown.map((item, index) => [item, index]));
    const kept = withinBudget(edges.filter(edge => !edge.faint), order);
    for (const edge of kept) { linked.add(edge.from); linked.add(edge.to); }
    const size = linked.size ? placeLinked([...shown.filter(item => linked.has(item))], kept, boxes) : { w: 0, h: 0 };
    const loose = shown.filter(item => !linked.has(item));
    const below = placeRows(loose, boxes, Math.max(size.w, Math.sqrt(loose.length) * 170), size.h ? size.h + ROW : 0);
    let width = Math.max(size.w, below.w), height = Math.max(size.h, below.h);
    if (below.w > size.w) for (const item of linked) boxes.get(item).x += (below.w - size.w) / 2;
    const shift = below.w > size.w ? (below.w - size.w) / 2 : 0;
    const empties = model.items(m).empty.slice(0, WINDOW);
    for (const item of empties) boxes.set(item, { item, ...closedSize(item), x: 0, y: 0, inner: null, empty: true });
    const last = placeRows(empties, boxes, Math.max(width, 320), height ? height + GAP : 0);
    width = Math.max(width, last.w);
    height = Math.max(height, last.h);

    const before = from, after = all.length - to;
    const left = PAD, top = (m ? HEAD : PAD) + (before ? MORE : 0);
    for (const box of boxes.values()) { box.x += left; box.y += top; }
    const lines = edges.map(edge => {
      const points = edge.points && edge.points.map(p => [p.x + left + shift, p.y + top]);
      return { ...edge, points: points || around(boxes.get(edge.from), boxes.get(edge.to)), bent: !points };
    });
    const result = {
      module: m, boxes, edges: lines, before, after,
      width: Math.max(width + 2 * PAD, m ? headWidth(m) : 0, before || after ? 200 : 0),
      height: top + height + (after ? MORE : 0) + PAD,
    };
    cache.set(m, result);
    return result;
  };

  // Long edges are what a layered layout pays for: of those that jump ranks the shortest are kept in it, the others drawn
  // over the result. Ranks here are longest paths along edges that go forwards in the file.
  const withinBudget = (edges, order) => {
    const rank = new Map(), forward = edges.filter(edge => order.get(edge.from) < order.get(edge.to));
    forward.sort((a, b) => order.get(a.from) - order.get(b.from));
    for (const { from, to } of forward) rank.set(to, Math.max(rank.get(to) || 0, (rank.get(from) || 0) + 1));
    const span = edge => Math.abs((rank.get(edge.to) || 0) - (rank.get(edge.from) || 0));
    let budget = DUMMIES;
    return [...edges].sort((a, b) => span(a) - span(b)).filter(edge => (budget -= Math.max(0, span(edge) - 1)) >= 0 || span(edge) < 2);
  };

  const placeLinked = (items, edges, boxes) => {
    const graph = new dagre.graphlib.Graph();
    graph.setGraph({ rankdir: "TB", nodesep: 22, edgesep: 12, ranksep: ROW, ranker: items.length > 60 ? "tight-tree" : "network-simplex" });
    for (const item of items) graph.setNode(String(item), { width: boxes.get(item).w, height: boxes.get(item).h });
    const place = new Map(items.map((item, index) => [item, index]));
    for (const edge of [...edges].sort((a, b) => place.get(a.from) - place.get(b.from) || place.get(a.to) - place.get(b.to))) graph.setEdge(String(edge.from), String(edge.to), {});
    dagre.layout(graph);
    let w = 0, h = 0;
    for (const item of items) {
      const at = graph.node(String(item)), box = boxes.get(item);
      box.x = at.x - box.w / 2;
      box.y = at.y - box.h / 2;
    }
    for (const edge of edges) edge.points = graph.edge(String(edge.from), String(edge.to)).points;
    let least = Infinity;
    for (const item of items) least = Math.min(least, boxes.get(item).x);
    for (const edge of edges) for (const p of edge.points) least = Math.min(least, p.x);
    for (const item of items) { const box = boxes.get(item); box.x -= least; w = Math.max(w, box.x + box.w); h = Math.max(h, box.y + box.h); }
    for (const edge of edges) for (const p of edge.points) { p.x -= least; w = Math.max(w, p.x); }
    return { w, h };
  };

  const placeRows = (items, boxes, most, top) => {
    let x = 0, y = top, tall = 0, w = 0;
    for (const item of items) {
      const box = boxes.get(item);
      if (x && x + box.w > most) { x = 0; y += tall + 10; tall = 0; }
      box.x = x;
      box.y = y;
      x += box.w + 12;
      tall = Math.max(tall, box.h);
      w = Math.max(w, box.x + box.w);
    }
    return { w, h: items.length ? y + tall : 0 };
  };

  // An edge outside the layout: a curve from the bottom of one box to the top of the other, sideways where that is above.
  const around = (a, b) => {
    const down = a.y + a.h <= b.y, x1 = a.x + a.w / 2, x2 = b.x + b.w / 2;
    if (down) return [[x1, a.y + a.h], [x1, a.y + a.h + 24], [x2, b.y - 24], [x2, b.y]];
    const side = Math.max(a.x + a.w, b.x + b.w) + 26;
    return [[a.x + a.w, a.y + a.h / 2], [side, a.y + a.h / 2], [side, b.y + b.h / 2], [b.x + b.w, b.y + b.h / 2]];
  };

  return { open, windows, level, forget, windowOf, labels, fit, FONTS, WINDOW, HEAD, MORE, PAD };
})();
