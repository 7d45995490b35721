/** What a beat carries besides liveness. All but `busyFor` are sent again until they change. */
export interface Fields {
  /** How much is done. With `progress = true` for this worker, a number that does not move is a hang. */
  progress?: number | bigint;
  /** How much waits to be done. With 0 the progress may stand still. */
  pending?: number | bigint;
  /** With this beat only: no other may come for so many milliseconds. */
  busyFor?: number;
  /** A line for people; at most 256 bytes of it are sent. */
  status?: string;
}

export interface HeartOptions {
  /** The environment that names the supervisor; by default the process's own. */
  env?: Record<string, string | undefined>;
  /**
   * Whether beats are numbered. `false` is for one process or thread of several that beat for the same worker; the default
   * knows the children of `cluster` and of `child_process.fork`, and worker threads.
   */
  counts?: boolean;
  /**
   * "zmq" is the `zeromq` package, which the constructor then throws without; "stream" needs nothing to install; "auto", the
   * default, is zeromq where it can be loaded. A stream sends from the event loop, so a program that never lets it turn is
   * not seen to beat.
   */
  transport?: 'auto' | 'zmq' | 'stream';
}

/**
 * The heart of this process, as its environment says; silent without a supervisor. No method waits, and none throws
 * for anything that the supervisor does or does not do: beats that it does not take are dropped.
 */
export class Heart {
  constructor(options?: HeartOptions);

  /** Whether there is a supervisor. */
  readonly supervised: boolean;
  /** How often the supervisor expects a beat, in milliseconds; undefined when it expects none. */
  readonly interval: number | undefined;
  /** How many beats were not sent, because the supervisor was gone or had left no room. */
  readonly dropped: number;

  /**
   * Beats, if it is time: a call that comes less than a quarter of the interval after the last beat sends nothing, so it
   * can stand in the innermost loop. What it held back goes with the next one that is sent.
   */
  beat(fields?: Fields): void;

  /**
   * Beats from a timer, by default twice in an interval, for a program that has no loop but the event loop: it shows that
   * this turns. `fields` is called for each beat; give a `progress` with it, and say `progress = true` in the tree, where a
   * loop that turns is not enough. The timer does not keep the program alive. Returns a function that ends it.
   */
  every(milliseconds?: number, fields?: () => Fields | undefined): () => void;

  /** Reports that the start is over; the first beat does so as well. */
  ready(): void;
  /** Reports that the end is near. */
  stopping(): void;

  /** Closes the connection. The heart is silent from then on. `linger` is how long the last message may take, in ms. */
  close(options?: { linger?: number }): void;
}

/** Something was asked of a tree, and did not happen. */
export class TreevisorError extends Error {
  /** One word: "no_instance", "no_answer", or what the root answers, such as "no_such_path" or "overtaken". */
  readonly code: string;
}

export interface AskOptions {
  /** The instance; needed only where several run. */
  instance?: string;
  /** The path of its control socket, in place of looking for it. */
  socket?: string;
  /** How long the first answer may take, in milliseconds; 5000 by default. */
  timeout?: number;
}

/** A supervisor or a worker, as `treevisor status --json` prints it. */
export interface Node {
  path: string;
  name: string;
  kind: 'supervisor' | 'worker';
  state: string;
  pid: number | null;
  incarnation: number;
  restarts: number;
  children?: Node[];
  [member: string]: unknown;
}

export interface Status {
  instance: string;
  version: string;
  pid: number;
  root: Node;
  [member: string]: unknown;
}

/** The state of a running tree, or of the part of it at `path`. */
export function status(path?: string, options?: AskOptions): Promise<Status>;

/**
 * The big red button: kills all that is at or below `path`, now; it is then healed, or with `hold` stays down. Resolves
 * when it is gone, with a word on it for people.
 */
export function panic(path: string, options?: AskOptions & { hold?: boolean }): Promise<string>;

/** One event, as `treevisor events --json` prints it; what else there is depends on its kind. */
export interface Event {
  id: string;
  /** RFC 3339, UTC, with nanoseconds. */
  at: string;
  path: string;
  kind: string;
  pid: number | null;
  incarnation: number | null;
  /** The `id` of the event that led to this one. */
  cause: string | null;
  [member: string]: unknown;
}

/**
 * What happened, as far as the root remembers, then what happens. Ends with the instance. Errors are those of the first step.
 * A slow reader slows down no other process. Leaving a `for await` closes it.
 */
export class Events implements AsyncIterableIterator<Event> {
  private constructor();
  /** How many events are missing between those that were received, because this reader was too slow. */
  readonly lost: number;
  next(): Promise<IteratorResult<Event, undefined>>;
  return(value?: undefined): Promise<IteratorResult<Event, undefined>>;
  /** Follows no longer; a waiting call ends as after the last event. */
  close(): void;
  [Symbol.asyncIterator](): this;
}

/**
 * Follows what happens at or below `path`:
 *
 *     for await (const event of follow('/web')) console.log(event.path, event.kind);
 */
export function follow(path?: string, options?: AskOptions): Events;
