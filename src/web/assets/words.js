// How times, sizes, states and events are written. Pure.

/** A span of time with two units at most: `0.3s`, `45s`, `3m 20s`, `2h 5m`, `3d 4h`. @param {number} ms */
export function span(ms) {
  if (!Number.isFinite(ms)) return "";
  if (ms <= 0) return "0s";
  if (ms < 1) return `${Math.round(ms * 1000)}µs`;
  if (ms < 100) return `${Math.round(ms)}ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1).replace(/\.0$/, "")}s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  /** @type {[number, string, number, string][]} */
  const units = [[3600, "m", 60, "s"], [86400, "h", 3600, "m"], [Infinity, "d", 86400, "h"]];
  const [, large, size, small] = /** @type {[number, string, number, string]} */ (units.find(([below]) => seconds < below));
  const whole = Math.floor(seconds / size);
  const rest = Math.floor((seconds % size) / (size === 60 ? 1 : size === 3600 ? 60 : 3600));
  return rest ? `${whole}${large} ${rest}${small}` : `${whole}${large}`;
}

/** @param {number} count of bytes */
export function bytes(count) {
  if (count < 1024) return `${count}B`;
  let unit = -1;
  while (count >= 1023.5 && unit < 4) {
    count /= 1024;
    unit += 1;
  }
  return `${count < 9.95 ? count.toFixed(1) : Math.round(count)}${"KMGTP"[unit]}`;
}

/** @param {number} count @param {string} one @param {string} [many] */
export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** @param {number} number */
export function ordinal(number) {
  const teen = Math.floor(number / 10) % 10 === 1;
  return number + (teen ? "th" : ["th", "st", "nd", "rd"][number % 10] ?? "th");
}

/** The time of day, in the reader's zone. @param {string | number | Date} at @param {boolean} [exact] with milliseconds */
export function clock(at, exact = false) {
  const date = new Date(at);
  const two = (number) => String(number).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return exact ? `${time}.${String(date.getMilliseconds()).padStart(3, "0")}` : time;
}

/** The time as it is in UTC, for a tooltip. @param {string | number | Date} at */
export function utc(at) {
  return `${new Date(at).toISOString().replace("T", " ").replace("Z", "")} UTC`;
}

/** The shape of each state; its colour is that of the class of the same name. */
export const SHAPES = /** @type {Record<string, string>} */ ({
  running: "●",
  starting: "▲",
  stopping: "■",
  waiting: "◆",
  held: "‖",
  stopped: "‖",
  exited: "○",
  failed: "✕",
  unreachable: "✕",
});

/** How a row is shown: the state, or `failed` of what has ended without success and stays. @param {Row} row */
export function look(row) {
  if (row.ill) return { shape: "◐", word: "late", name: "ill" };
  const word = row.state === "exited" && row.failed ? "failed" : row.state;
  return { shape: SHAPES[word] ?? "○", word: row.unstarted && word === "stopped" ? "not started" : word, name: word };
}

const SIGNALS = /** @type {Record<number, string>} */ ({
  1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL",
  10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU", 25: "SIGXFSZ",
});

/** The end of a process, as short as it goes. @param {{ code?: number | null, signal?: number | null, signal_name?: string, oom_killed?: boolean }} exit */
export function ending(exit) {
  if (exit.oom_killed) return "out of memory";
  if (exit.signal != null) return exit.signal_name ?? SIGNALS[exit.signal] ?? `signal ${exit.signal}`;
  return `exit ${exit.code ?? "?"}`;
}

/** @param {TreeEvent} event */
function exited(event) {
  const killed = /** @type {Record<string, string>} */ ({
    hung: "was killed (hung)",
    panic: "was killed (panic)",
    start_timeout: "was killed (start timeout)",
    shutdown_over: "was killed (shutdown timeout)",
    stop_refused: "was killed (it could not be asked to stop)",
    brutal_kill: "was killed (brutal-kill)",
  })[event.killed];
  const notes = [];
  let words = killed;
  if (!words) {
    if (event.signal == null) {
      words = event.lost_with ? `was lost with its host ${event.lost_with}` : event.code == null ? "ended, its exit status is not known" : `exited with status ${event.code}`;
      if (event.expected) notes.push("as requested");
    } else if (event.expected) {
      words = `stopped (${ending(event)}, as requested)`;
    } else {
      words = `was killed by ${ending({ signal: event.signal, signal_name: event.signal_name })}`;
    }
  }
  if (event.oom_killed) notes.push("out of memory");
  if (event.core_dumped) notes.push("core dumped");
  if (event.explanation) notes.push(`reason: ${event.explanation}`);
  const last = Array.isArray(event.output) ? event.output.at(-1) : null;
  if (last && !event.expected) notes.push(`last output: ${last}`);
  return notes.length ? `${words} (${notes.join("; ")})` : words;
}

/** @param {TreeEvent} event */
function stopping(event) {
  const why = /** @type {Record<string, string>} */ ({
    group: `restarting with ${event.by ?? "a sibling"}`,
    supervisor_ends: "its supervisor is stopping",
    operator: `requested by ${event.by ?? "an operator"}`,
    reload: `reload by ${event.by ?? "an operator"}`,
    start_timeout: `start timeout${event.probe ? `; ${event.probe}` : ""}`,
    signal: event.by ?? "signal",
  })[event.why];
  return `stopping (${why ?? event.why})`;
}

/** @param {TreeEvent} event */
function restarting(event) {
  const of = event.max == null ? "" : ` of ${event.max}`;
  const soon = event.delay_ms > 0 ? ` in ${span(event.delay_ms)}` : "";
  const window = event.period_ms ? ` in ${span(event.period_ms)}` : "";
  return `restarting${soon} (${event.strategy}, restart ${event.used}${of}${window})`;
}

/** @param {TreeEvent} event */
function hung(event) {
  if (event.by_its_word) return "hangs: by its own report (WATCHDOG=trigger)";
  const what = event.no_progress ? "heartbeats without progress" : "no heartbeat";
  const seen = event.seen ? `; it ${event.seen}` : "";
  return `hangs: ${what} for ${span(event.age_ms)} (limit ${span(event.limit_ms)})${seen}${event.probe ? `; ${event.probe}` : ""}`;
}

/** The sentence of an event, without its path; docs/events.md has the sentences of the log. @param {TreeEvent} event */
export function sentence(event) {
  const times = event.count > 1 ? ` (${event.count} times since ${clock(event.first)})` : "";
  // Of a process that stands beside the child: "its successor: starting".
  return (event.beside ? `its ${event.beside}: ` : "") + phrase(event) + times;
}

/** @param {TreeEvent} event @returns {string} */
function phrase(event) {
  switch (event.kind) {
    case "starting":
      return (event.incarnation ?? 1) > 1 ? `starting (incarnation ${event.incarnation})` : "starting";
    case "started":
      return event.pid ? `was started (pid ${event.pid})` : "was started";
    case "ready":
      return "is ready";
    case "beat_late":
      return `is late: no heartbeat for ${span(event.age_ms)} (limit ${span(event.limit_ms)})${event.spared ? `; kill deferred: ${event.spared}` : ""}`;
    case "hung":
      return hung(event);
    case "exited":
      return exited(event);
    case "kill_failed":
      return `cannot be killed: process ${event.survivor}, ${event.reason}`;
    case "restarting":
      return restarting(event);
    case "failed_over":
      return `fails over: ${event.why ?? `its host${event.from ? ` ${event.from}` : ""} is lost`}${event.strategy ? ` (${event.strategy})` : ""}`;
    case "no_host":
      return `waits: no host may have it: ${event.why}`;
    case "stopping":
      return stopping(event);
    case "stopped":
      return "is down";
    case "escalated":
      return `escalated: ${event.explanation}`;
    case "gave_up":
      return `gave up: ${ordinal(event.used)} restart of ${event.child} within ${span(event.period_ms)}, limit ${event.max}`;
    case "auto_shutdown":
      return `is shutting down: significant child ${event.child} exited`;
    case "main_pid":
      return `is now process ${event.pid}, in place of ${event.before} (MAINPID)`;
    case "succeeded":
      return `is now process ${event.pid}, incarnation ${event.incarnation}, in place of incarnation ${event.before}`;
    case "panic":
      return `was panicked${event.hold ? " and held" : ""} by ${event.by}`;
    case "held":
      return event.again ? `is still held (since ${event.since}, by ${event.by})` : "is held";
    case "released":
      return `is no longer held: released by ${event.by}`;
    case "reloaded": {
      const counts = ["added", "removed", "restarted", "updated"].filter((what) => event[what] > 0);
      return `was reloaded by ${event.by}: ${counts.map((what) => `${event[what]} ${what}`).join(", ") || "no changes"}`;
    }
    case "upgraded":
      return `was upgraded from ${event.from} to ${event.to} by ${event.by} (gap ${event.gap_ms} ms)`;
    case "upgrade_failed":
      return `could not be upgraded to ${event.to}: ${event.message}`;
    case "start_failed":
      return `could not be started: ${event.message}`;
    case "dropped":
      return "had messages dropped";
    default:
      return event.kind.replaceAll("_", " ");
  }
}

/** What each kind of step means, for a reader who has not met the word. */
const MEANINGS = /** @type {Record<string, string>} */ ({
  beat_late: "Heartbeats are its promise to be alive. One is overdue; nothing is done yet.",
  hung: "The limit without a heartbeat is over. It is killed, as what does not answer cannot be asked to stop.",
  restarting: "Its supervisor starts it again, and counts this restart in its window.",
  failed_over: "It is started on another host. It has not failed, so this restart is not counted.",
  no_host: "It is started when a host may have it. Nothing is counted.",
  escalated: "The supervisor above takes over: to restart the child alone did not help.",
  gave_up: "More restarts within the period than its intensity allows. It stops its children and exits with status 10.",
  auto_shutdown: "A child that matters has ended by itself; so the supervisor ends.",
  panic: "Killed at once, without being asked, with all that stood below it.",
  held: "It stays down until an operator starts it again.",
  upgraded: "It goes on with another treevisor, in the same process. Nothing below it was stopped.",
  upgrade_failed: "It goes on with the treevisor that it had. Nothing was changed.",
  start_failed: "A start that fails counts as a failure.",
  kill_failed: "The kernel does not let go of the process. Its supervisor no longer waits for it.",
});

/** What an event means, where its sentence does not say it all. @param {TreeEvent} event */
export function meaning(event) {
  if (event.kind === "exited" && event.killed === "hung") return "SIGKILL by its supervisor, to it and all that it had started.";
  if (event.kind === "exited" && event.oom_killed) return "The kernel ended it, as the memory of its cgroup had run out.";
  if (event.kind === "exited" && event.signal === 11) return "It used memory that is not its own: a fault of the program.";
  if (event.kind === "exited" && event.signal === 9 && !event.expected) {
    return "SIGKILL from outside: an operator, or the kernel for lack of memory.";
  }
  if (event.kind === "exited" && event.code === 10 && event.explanation) return "Status 10 is that of a supervisor that gave up.";
  if (event.kind === "stopping" && event.why === "group") return "The strategy of its supervisor restarts it together with the one that failed.";
  return MEANINGS[event.kind] ?? "";
}
