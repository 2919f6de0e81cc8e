/**
 * Small parts that pages are made of. Texts are always set as text, never as markup.
 */

/** The one element that a selector names. */
function find(selector) {
  return document.querySelector(selector);
}

/**
 * A new element.
 * @param {string} tag
 * @param {object} properties of the element; those that start with "aria-" or "data-" are attributes
 * @param {...(Node|string)} children
 */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name.startsWith("data-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** A button that looks like a link. */
function link(text, action, colour = null) {
  const made = element("button", { type: "button", className: "link", onclick: action });
  if (colour !== null) made.append(dot(colour));
  made.append(text);
  return made;
}

/** A dot in a colour, before a word of the legend. */
function dot(colour) {
  const made = element("span", { className: "dot", "aria-hidden": "true" });
  made.style.background = colour;
  return made;
}

/** A number in few characters, with its unit; bytes in KiB, MiB or GiB. */
function numberText(value, unit = "") {
  if (typeof value === "string") return { nan: "NaN", inf: "∞", "-inf": "−∞" }[value] ?? value;
  if (unit === "B" || unit === "bytes") {
    for (const [size, name] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
      const count = Math.abs(value) / size;
      if (count >= 1) return `${count.toFixed(count < 10 ? 2 : count < 100 ? 1 : 0)} ${name}`;
    }
  }
  const size = Math.abs(value);
  const text = size === 0 || (size >= 1e-3 && size < 1e5) ? String(Number(value.toPrecision(3))) : value.toExponential(1);
  return `${text} ${unit}`.trim().replaceAll("-", "−");
}

/** "12,345"; what the browser has for it takes a tenth of a second to load. */
function grouping(count) {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Count with a word: "1 node", "2 nodes". */
function counted(count, word) {
  return `${grouping(count)} ${word}${count === 1 ? "" : "s"}`;
}
