// The language of the search field. Pure.
//
// Words that a path contains (`*` stands for anything), and conditions `key:value`, all of which must hold. A value may be a list
// with commas, of which one must fit; numbers, times and sizes take `>`, `<`, `>=`, `<=`. A minus before a word turns it round.

const UNITS = /** @type {Record<string, number>} */ ({
  ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000,
  b: 1, k: 1024, kb: 1024, kib: 1024, mb: 1 << 20, mib: 1 << 20, g: 1 << 30, gb: 1 << 30, gib: 1 << 30,
});

/** Keys that compare a number. */
const NUMBERS = /** @type {Record<string, (row: Row, now: number) => number | null | undefined>} */ ({
  restarts: (row) => row.restarts,
  incarnation: (row) => row.incarnation,
  pid: (row) => row.pid,
  cpu: (row) => row.cpu,
  memory: (row) => row.memory_bytes,
  beat: (row) => row.beat_age_ms,
  up: (row, now) => (row.started_at ? now - Date.parse(row.started_at) : null),
  window: (row) => row.window,
});

/** Keys that compare a word. */
const WORDS = /** @type {Record<string, (row: Row) => (string | null | undefined)[]>} */ ({
  state: (row) => [row.state, row.failed && row.state === "exited" ? "failed" : null, row.ill ? "late" : null],
  kind: (row) => [row.kind],
  name: (row) => [row.name],
  path: (row) => [row.path],
  restart: (row) => [row.restart],
  strategy: (row) => [row.strategy],
  host: (row) => [row.host],
  note: (row) => [row.status_text, row.held_by],
});

/** The keys, for a hint. */
export const KEYS = [...Object.keys(WORDS), ...Object.keys(NUMBERS)];

/** A test for a word with `*`; without one it may stand anywhere. @param {string} word */
function pattern(word) {
  const parts = word.toLowerCase().split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  const whole = new RegExp(parts.length > 1 ? `^${parts.join(".*")}$` : parts[0], "s");
  return (text) => whole.test(text.toLowerCase());
}

/** A number with its unit, in milliseconds or bytes. @param {string} text @param {string} key */
function number(text, key) {
  const match = /^([0-9]+(?:\.[0-9]+)?)([a-z]*)%?$/i.exec(text);
  if (!match) return null;
  let unit = match[2].toLowerCase();
  if (unit === "m" && key === "memory") unit = "mb";
  const factor = unit ? UNITS[unit] : key === "beat" || key === "up" ? 1000 : 1;
  return factor === undefined ? null : Number(match[1]) * factor;
}

/** The test of one condition, or a sentence that says what is wrong with it. @param {string} key @param {string} value @returns {Test | string} */
function condition(key, value) {
  const words = WORDS[key];
  if (words) {
    const wanted = value.split(",").filter(Boolean).map(pattern);
    return (row) => words(row).some((word) => word != null && wanted.some((fits) => fits(word)));
  }
  const of = NUMBERS[key];
  if (!of) return `${key}: is no key; there are ${KEYS.join(", ")}`;
  const match = /^(>=|<=|>|<|=)?(.*)$/.exec(value);
  const wanted = number(match?.[2] ?? "", key);
  if (wanted === null) return `${key}:${value} has no number, as in ${key}:>3`;
  const how = match?.[1] ?? "=";
  return (row, now) => {
    const is = of(row, now);
    if (is == null) return false;
    if (how === ">") return is > wanted;
    if (how === "<") return is < wanted;
    if (how === ">=") return is >= wanted;
    return how === "<=" ? is <= wanted : is === wanted;
  };
}

/** What a text in the search field asks for. @param {string} text @returns {{ test: Test | null, error: string | null }} no test where nothing is asked for */
export function parse(text) {
  /** @type {Test[]} */
  const tests = [];
  let error = null;
  for (let word of text.trim().split(/\s+/).filter(Boolean)) {
    const not = word.length > 1 && word.startsWith("-");
    if (not) word = word.slice(1);
    const colon = word.indexOf(":");
    /** @type {Test | string} */
    let test;
    if (colon > 0) {
      // An unfinished condition, `state:`, hides nothing while it is typed.
      if (colon === word.length - 1) continue;
      test = condition(word.slice(0, colon).toLowerCase(), word.slice(colon + 1));
    } else {
      const fits = pattern(word);
      test = (row) => fits(row.path);
    }
    if (typeof test === "string") {
      error ??= test;
      continue;
    }
    const holds = test;
    tests.push(not ? (row, now) => !holds(row, now) : holds);
  }
  return { test: tests.length ? (row, now) => tests.every((test) => test(row, now)) : null, error };
}
