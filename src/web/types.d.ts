// What the server sends, for the JSDoc of the page's modules. docs/cli.md has the meaning of what `status`, `events` and `logs`
// have too.

/** A row of the tree: what `status --json` has of a child, and what the page knows besides. */
export interface Row {
  path: string;
  name: string;
  kind: "supervisor" | "worker";
  state: string;
  /** Its place among all rows. */
  at: number;
  /** The place of its supervisor; -1 of the root. */
  parent: number;
  /** 1 of the root. */
  level: number;
  /** Places, in the order of the file. */
  children: number[];
  pid?: number | null;
  incarnation?: number;
  restarts?: number;
  started_at?: string | null;
  /** How its start ends: `exec` means that it is up as soon as it is started. */
  ready?: string | null;
  restart?: string;
  strategy?: string;
  intensity?: { max: number | null; period_ms: number; used: number } | null;
  heartbeat?: { interval_ms: number; misses: number; age_ms: number | null; beats: number; missed: number } | null;
  last_exit?: { code?: number; signal?: number; at: string; oom_killed?: boolean } | null;
  usage?: { cpu_ms: number; memory_bytes: number; processes: number } | null;
  waits_ms?: number | null;
  held_since?: string | null;
  held_by?: string | null;
  status_text?: string | null;
  unstarted?: boolean | null;
  kill_failed?: { pid: number; others: number; reason: string } | null;
  last_known?: Record<string, number> | null;

  // What the page finds out.

  /** When its back-off is over, by the server's clock. */
  waits_until?: number;
  /** A beat is late, or it hangs. */
  ill?: boolean;
  /** Its last end was no success. */
  failed?: boolean;
  /** Percent of a core. */
  cpu?: number;
  /** When `heartbeat` was received, by the browser's clock. */
  seen?: number;
  /** When `usage` was received, by the browser's clock. */
  measured?: number;
}

/** An event as `events --json` has it; what else it has depends on its kind. */
export type TreeEvent = {
  id: string;
  at: string;
  path: string;
  kind: string;
  pid: number | null;
  incarnation: number | null;
  cause: string | null;
  code?: number;
  signal?: number;
  signal_name?: string;
  oom_killed?: boolean;
} & Record<string, any>;

/** A line of output as `logs --json` has it. */
export interface LogLine {
  at: string | null;
  path: string;
  pid: number | null;
  incarnation: number | null;
  text: string;
  stream?: string;
  cut?: boolean;
  continued?: boolean;
}
