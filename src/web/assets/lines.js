// Which lines of output there are: those that were there, those that were asked for, and those that came meanwhile.

/** Lines that are kept. */
export const KEPT = 5000;

/** @param {LogLine} line */
function key({ path, at, text }) {
  return `${path} ${at} ${text}`;
}

/** @param {LogLine[]} lines @returns {Set<string>} */
function keys(lines) {
  return new Set(lines.filter(({ at }) => at).map(key));
}

/** All by time, those of one group in their order, as when the clock is set back. What has no time stays behind the one before it.
 * @template T @param {T[]} all @param {(one: T) => string} group @param {(one: T) => string | number | null | undefined} time @returns {T[]} */
export function inOrder(all, group, time) {
  /** Of each group the latest time so far. */
  const latest = new Map();
  /** @type {string | number} */
  let moment = "";
  const timed = all.map((one) => {
    const own = time(one);
    if (own != null) {
      const last = latest.get(group(one));
      moment = last > own ? last : own;
      latest.set(group(one), moment);
    }
    return { one, moment };
  });
  timed.sort((a, b) => (a.moment < b.moment ? -1 : Number(a.moment > b.moment)));
  return timed.map(({ one }) => one);
}

/**
 * What is shown when the last lines have been asked for: lines from before that are older than they, and they. Where something may be
 * missing between both, that is marked.
 *
 * @param {LogLine[]} before @param {LogLine[]} asked by their times @param {boolean} all whether these are all that there are @returns {LogLine[]}
 */
export function joined(before, asked, all) {
  const known = keys(asked);
  /** Paths whose lines are among those that were asked for from here on. */
  const again = new Set();
  const older = before.filter((line) => {
    if (known.has(key(line))) again.add(line.path);
    return !line.at || !again.has(line.path);
  });
  const gap = !all && before.length > 0 && !again.size;
  // The gap stays before the line after it.
  const lines = inOrder([...older, ...(gap ? [missing()] : []), ...asked], ({ path }) => path, (line) => (line.gap ? asked[0].at : line.at));
  return lines.slice(-KEPT);
}

/** What came while the last lines were asked for, and is not among them. @param {LogLine[]} came @param {LogLine[]} asked @param {boolean} all
 * whether these are all that there are */
export function later(came, asked, all) {
  const known = keys(asked);
  /** Of each path the place of the last line that both have. */
  const same = new Map();
  came.forEach((line, at) => known.has(key(line)) && same.set(line.path, at));
  /** Of each path the moment of the last line that was asked for. */
  const end = new Map();
  for (const { path, at } of asked) end.set(path, at ?? "");
  return came.filter((line, at) => {
    const last = same.get(line.path);
    if (line.lost || last !== undefined) return line.lost || at > last;
    // Where more came than were asked for, lines that are older than those may have come late.
    return all || (line.at ?? "") > (end.get(line.path) ?? "");
  });
}

/** @returns {LogLine} */
function missing() {
  return { at: null, path: "", pid: null, incarnation: null, text: "", gap: true };
}
