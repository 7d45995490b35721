// Elements. What comes from the tree is text, set as text: nothing here makes markup of it.

/** @template {Element} E @param {E} element @param {string[]} classes @param {any[]} parts attributes, if the first is neither a node nor text, and children */
function fill(element, classes, [first, ...rest]) {
  element.classList.add(...classes);
  const attributes = first && typeof first === "object" && !(first instanceof Node) ? first : null;
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value == null || value === false) continue;
    if (typeof value === "object") Object.entries(value).forEach(([event, listener]) => element.addEventListener(event, listener));
    else element.setAttribute(name, value === true ? "" : value);
  }
  const children = attributes ? rest : [first, ...rest];
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

/** An element: `h("p.dim", { title, on: { click } }, "text", node)`. An attribute or a child that is null or false is left out. @template {string} T
 * @param {T} tag with classes @param {...any} parts attributes, and children @returns {Made<T>} */
export function h(tag, ...parts) {
  const [name, ...classes] = tag.split(".");
  return /** @type {any} */ (fill(document.createElement(name), classes, parts));
}

/** The same in a drawing. @param {string} tag @param {...any} parts */
export function s(tag, ...parts) {
  const [name, ...classes] = tag.split(".");
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), classes, parts);
}

/** A button. @param {any} label @param {() => void} act @param {object} [attributes] */
export function button(label, act, attributes) {
  return h("button", { type: "button", ...attributes, on: { click: () => act() } }, label);
}

/** Sets a text if it is another one. @param {Node | null} node @param {string} text */
export function say(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

/** Replaces what an element contains. What had the focus keeps it: the link or the button that is the same by its `data-key`, its address or its text.
 * @param {Element} element @param {...(Node | string)} nodes */
export function replace(element, ...nodes) {
  const active = document.activeElement;
  if (!active || active === element || !element.contains(active)) return element.replaceChildren(...nodes);
  const name = (one) => one.getAttribute("data-key") ?? one.getAttribute("href") ?? one.textContent;
  const was = name(active);
  const alike = () => [...element.querySelectorAll("a, button")].filter((one) => name(one) === was);
  const at = alike().indexOf(active);
  element.replaceChildren(...nodes);
  const same = at < 0 ? null : alike()[at];
  /** @type {HTMLElement | null | undefined} */ (same ?? element.closest("[tabindex]"))?.focus({ preventScroll: true });
}

/** Sets an attribute if it is another one; null takes it away. @param {Element} element @param {string} name @param {any} value */
export function set(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Which presses of Enter and Space count: a key that is held down acts once, and on what it was pressed on. The keyboard repeats it by itself, and by
 * then something else may have the focus: the button that confirms, or the one that closes what shows the result. */
export class Presses {
  constructor() {
    /** @type {Map<string, EventTarget | null>} what each was pressed on */
    this.on = new Map();
  }

  /** @param {EventTarget} document */
  watch(document) {
    document.addEventListener("keydown", (event) => this.down(/** @type {KeyboardEvent} */ (event)), true);
    document.addEventListener("keyup", (event) => this.up(/** @type {KeyboardEvent} */ (event)), true);
  }

  /** @param {KeyboardEvent} event */
  down(event) {
    const { key, repeat, target } = event;
    if (key !== "Enter" && key !== " ") return;
    if (!repeat) this.on.set(key, target);
    // Space that is held down scrolls, and writes.
    else if (key === "Enter" || /** @type {Element} */ (target).tagName === "BUTTON") event.preventDefault();
  }

  /** @param {KeyboardEvent} event */
  up(event) {
    if (event.key !== "Enter" && event.key !== " ") return;
    // A button acts when Space is let go.
    if (this.on.get(event.key) !== event.target) event.preventDefault();
    this.on.delete(event.key);
  }
}

/** What a row's state looks like. @param {{ shape: string }} look */
export function shape({ shape }) {
  return h("span.shape", { "aria-hidden": "true" }, shape);
}

/** The element of this id, which the page has. @param {string} id */
export function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** What this browser keeps of the reader's choices; it may keep nothing. @param {string} name @param {string} [value] */
export function choice(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(`treevisor.${name}`, value);
    return localStorage.getItem(`treevisor.${name}`);
  } catch {
    return value ?? null;
  }
}
