"use strict";
// Colours of items by class, source, confidence or an overlay, and the legend. Categories use Paul Tol's "light" scheme,
// which stays apart for colour-blind readers under black text; ramps go one way in lightness, so they survive without hue.

const colours = (() => {
  const LIGHT = ["#77aadd", "#ee8866", "#eedd88", "#44bb99", "#ffaabb", "#99ddff", "#bbcc33", "#c6b5e6", "#cfa57e", "#aaaa00"];
  const DARK = ["#2f6396", "#a04d30", "#85742a", "#1f7560", "#98485e", "#2c7b96", "#66721b", "#67529a", "#7d5a3a", "#5c5c10"];
  const REST = { light: "#dfe3e8", dark: "#3d4650" }, PLAIN = { light: "#f1f3f6", dark: "#262d36" };
  const RAMP = {
    light: ["#fff7d6", "#fee391", "#fec44f", "#fb9a29", "#ec7014", "#cc4c02", "#8c2d04"],
    dark: ["#2c2a22", "#4d3f1c", "#795618", "#a86f15", "#d58f22", "#f3b94d", "#ffe9a8"],
  };
  const SOURCES = ["scope", "reference", "value", "parameter", "inherited", "fallback", ""];
  const SOURCE_TEXT = {
    scope: "recorded", reference: "from a reference", value: "equal value", parameter: "from its weights",
    inherited: "guess: neighbours", fallback: "guess: nothing known", "": "no tag",
  };
  const SOURCE_COLOUR = { scope: 0, reference: 3, value: 5, parameter: 6, inherited: 2, fallback: 1, "": 4 };

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : dark.matches;
  const scheme = () => isDark() ? "dark" : "light";
  const category = index => (isDark() ? DARK : LIGHT)[index];
  const rgb = hex => [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
  const ramp = share => {
    const stops = RAMP[scheme()], at = Math.max(0, Math.min(1, share)) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
    const a = rgb(stops[low]), b = rgb(stops[low + 1]);
    return "#" + a.map((x, k) => Math.round(x + (b[k] - x) * (at - low)).toString(16).padStart(2, "0")).join("");
  };
  const luminance = hex => {
    const [r, g, b] = rgb(hex).map(x => (x /= 255) <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const inks = new Map();
  const ink = hex => { // black or white, whichever is read better on it
    let found = inks.get(hex);
    if (!found) inks.set(hex, found = luminance(hex) > .179 ? "#000000" : "#ffffff");
    return found;
  };

  // Classes get colours from the outside inwards, so that those in sight first have one; the rest share a grey. The class
  // is written on every box too.
  const classes = new Map();
  let outer = [0];
  while (outer.length) {
    for (const m of outer) { const name = model.className(m); if (m && name && model.inside[m] && !classes.has(name)) classes.set(name, classes.size); }
    outer = classes.size < LIGHT.length ? outer.flatMap(m => model.children[m]) : [];
  }
  const hasColour = name => classes.has(name) && classes.get(name) < LIGHT.length;

  let mode = "class", overlay = null, scale = { low: 0, high: 1, log: false };
  const values = () => overlay ? overlay.of : null;

  const setMode = name => {
    mode = name;
    overlay = name.startsWith("overlay:") ? model.overlays.find(each => "overlay:" + each.name === name) || null : null;
  };
  // A sum is compared among what is shown (a module always outweighs its parts); other numbers on one scale for all.
  const setScale = shown => {
    if (!overlay) return;
    let numbers = [];
    if (overlay.aggregate === "sum") for (const item of shown) { if (overlay.of.has(item)) numbers.push(overlay.of.get(item)); }
    else numbers = [...overlay.of.values()];
    numbers = numbers.filter(Number.isFinite);
    let low = 0, high = 0, least = Infinity;
    for (const value of numbers) { low = Math.min(low, value); high = Math.max(high, value); if (value > 0) least = Math.min(least, value); }
    const log = overlay.aggregate !== "sum" && low >= 0 && high / least > 1000;
    scale = log ? { low: Math.log10(least), high: Math.log10(high), log } : { low, high, log };
  };
  const share = value => {
    if (value === Infinity) return 1;
    if (scale.log) return value <= 0 ? 0 : .06 + .94 * (Math.log10(value) - scale.low) / (scale.high - scale.low || 1);
    return scale.high > scale.low ? (value - scale.low) / (scale.high - scale.low) : 0;
  };

  const colour = item => {
    if (overlay) return overlay.of.has(item) ? ramp(share(overlay.of.get(item))) : PLAIN[scheme()];
    if (mode === "source") { const source = model.source(item); return source === null ? PLAIN[scheme()] : category(SOURCE_COLOUR[source] ?? 4); }
    if (mode === "confidence") { const c = model.confidence(item); return c === null ? PLAIN[scheme()] : ramp(1 - c); }
    const name = model.className(model.moduleOf(item));
    if (!name) return PLAIN[scheme()];
    return hasColour(name) ? category(classes.get(name)) : REST[scheme()];
  };

  const format = (value, unit) => {
    if (!Number.isFinite(value)) return (value > 0 ? "" : "-") + "\u221e";
    const size = Math.abs(value);
    const text = Number.isInteger(value) && size < 1e6 ? value.toLocaleString("en")
      : size >= 1e12 ? (value / 1e12).toPrecision(4) + "T" : size >= 1e9 ? (value / 1e9).toPrecision(4) + "G" : size >= 1e6 ? (value / 1e6).toPrecision(4) + "M"
      : size >= 1e-3 ? String(+value.toPrecision(4)) : value.toExponential(2);
    return unit ? `${text} ${unit}` : text;
  };

  // Legend rows: [colour, text, class of the swatch].
  const legend = shown => {
    const rows = [];
    let title = "class of the module";
    if (overlay) {
      title = overlay.name + (scale.log ? " (logarithmic)" : overlay.aggregate === "sum" ? " (of what is shown)" : "");
      const at = s => scale.log ? 10 ** (scale.low + s * (scale.high - scale.low)) : scale.low + s * (scale.high - scale.low);
      return { title, ramp: [0, .25, .5, .75, 1].map(s => [ramp(scale.log ? .06 + .94 * s : s), format(+at(s).toPrecision(3), "")]), unit: overlay.unit, rows: overlay.of.size < model.moduleCount + model.nodeCount ? [[PLAIN[scheme()], "no number", ""]] : [] };
    }
    if (mode === "confidence") return { title: "confidence (of a module: its lowest)", ramp: [1, .75, .5, .25, 0].map(c => [ramp(1 - c), c.toFixed(2)]), unit: "", rows };
    if (mode === "source") {
      title = "how the module is known";
      const counts = new Map();
      for (let i = 0; i < model.nodeCount; i++) { const s = model.source(model.itemOf(i)); counts.set(s, (counts.get(s) || 0) + 1); }
      for (const source of SOURCES) if (counts.has(source)) rows.push([category(SOURCE_COLOUR[source]), `${source || "none"}: ${SOURCE_TEXT[source]}, ${counts.get(source).toLocaleString("en")}`, source === "inherited" || source === "fallback" || !source ? "guess" : ""]);
      return { title, rows };
    }
    const names = new Set([...shown].map(item => model.className(model.moduleOf(item))));
    for (const name of classes.keys()) if (names.has(name) && hasColour(name)) rows.push([category(classes.get(name)), name, ""]);
    if ([...names].some(name => name && !hasColour(name))) rows.push([REST[scheme()], "other classes", ""]);
    if (names.has("") || !names.size) rows.push([PLAIN[scheme()], "class not known", ""]);
    return { title, rows };
  };

  return { setMode, setScale, colour, ink, share, legend, format, values, isDark, dark, get mode() { return mode; }, get overlay() { return overlay; } };
})();
