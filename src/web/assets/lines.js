// Which lines of output there are: those that were there, those that were asked for, and those that came meanwhile.

/** Lines that are kept. */
export const KEPT = 5000;

/** @param {LogLine[]} lines @returns {Map<string, string>} of each path the moment of its last line */
function ends(lines) {
  return new Map(lines.filter((line) => line.at).map((line) => [line.path, /** @type {string} */ (line.at)]));
}

/**
 * What is shown when the last lines have been asked for: lines from before that are older than they, and they. Where something may be
 * missing between both, that is marked.
 *
 * @param {LogLine[]} before @param {LogLine[]} asked by their times @param {boolean} all whether these are all that there are @returns {LogLine[]}
 */
export function joined(before, asked, all) {
  /** @type {Map<string, string>} */
  const first = new Map();
  for (const { path, at } of asked) if (at && !first.has(path)) first.set(path, at);
  let moment = "";
  const older = [];
  for (const line of before) {
    const from = line.at && first.get(line.path);
    if (from && /** @type {string} */ (line.at) >= from) continue;
    // What has no moment of its own stays behind the line before it.
    moment = line.at ?? moment;
    older.push({ line, moment });
  }
  const begin = asked[0]?.at ?? "";
  const gap = !all && before.length > 0 && [...ends(before).values()].every((at) => at < begin);
  const lines = [...older, ...(gap ? [{ line: missing(), moment: begin }] : []), ...asked.map((line) => ({ line, moment: line.at ?? "" }))];
  lines.sort((a, b) => (a.moment < b.moment ? -1 : Number(a.moment > b.moment)));
  return lines.map(({ line }) => line).slice(-KEPT);
}

/** What came while the last lines were asked for, and is not among them. @param {LogLine[]} came @param {LogLine[]} asked */
export function later(came, asked) {
  const end = ends(asked);
  return came.filter((line) => line.lost || (line.at ?? "") > (end.get(line.path) ?? ""));
}

/** @returns {LogLine} */
function missing() {
  return { at: null, path: "", pid: null, incarnation: null, text: "", gap: true };
}
