// Which rows of a long list are drawn. Pure.

/** The rows to draw: those that are seen, and some on each side, so that the next turn of the wheel has them. @param {number} top how far the list is
 * scrolled beyond its first row, in pixels; negative where it begins further down @param {number} height of what is seen @param {number} row height
 * of a row @param {number} count of rows @param {number} [spare] rows on each side @returns {{ from: number, to: number }} `to` is not drawn */
export function seen(top, height, row, count, spare = 5) {
  const first = Math.floor(top / row) - spare;
  const last = Math.ceil((top + height) / row) + spare;
  const from = Math.min(Math.max(first, 0), count);
  return { from, to: Math.min(Math.max(last, from), count) };
}

/** How far to scroll so that a row is seen; the same where it is. @param {number} index of the row @param {number} top @param {number} height @param
 * {number} row @param {number} [head] pixels at the top that something else covers */
export function reveal(index, top, height, row, head = 0) {
  const from = index * row;
  if (from < top + head) return from - head;
  if (from + row > top + height) return from + row - height;
  return top;
}

/** Points of a sparkline, for a polyline in a box. @param {(number | null)[]} values null where there is none: the line has a gap @param {number}
 * width @param {number} height @param {number} [max] of the scale; the largest value where it is absent @returns {string[]} one list of points for
 * each piece */
export function spark(values, width, height, max) {
  const top = Math.max(max ?? 0, ...values.map((value) => value ?? 0)) || 1;
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  /** @type {string[][]} */
  const pieces = [[]];
  values.forEach((value, at) => {
    if (value == null) return void pieces.push([]);
    const y = height - (value / top) * height;
    pieces[pieces.length - 1].push(`${+(at * step).toFixed(1)},${+y.toFixed(1)}`);
  });
  return pieces.filter((piece) => piece.length).map((piece) => piece.join(" "));
}

/** Sorts events into slots of equal length. @param {number[]} times @param {number} from @param {number} to @param {number} slots */
export function histogram(times, from, to, slots) {
  const counts = new Array(slots).fill(0);
  for (const time of times) {
    const slot = Math.floor(((time - from) / (to - from)) * slots);
    if (slot >= 0 && slot < slots) counts[slot] += 1;
  }
  return counts;
}
