// What the server sends, for the JSDoc of the page's modules. docs/json.md has the meaning of what `status`, `events` and `logs`
// have too.

/** A row of the tree: what `status --json` has of a child, and what the page knows besides. */
interface Row {
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
  /** When the present process began. */
  started_at?: string | null;
  /** How its start ends: `exec` means that it is up as soon as it is started. */
  ready?: string | null;
  restart?: string | null;
  strategy?: string | null;
  /** Restarts in its window, how many it allows (null: any number), and how long it is. */
  window?: number | null;
  window_max?: number | null;
  window_ms?: number | null;
  /** A beat is due this often; so long without one is a hang. */
  beat_ms?: number | null;
  beat_limit_ms?: number | null;
  last_exit?: { code?: number | null; signal?: number | null; at: string; oom_killed?: boolean } | null;
  status_text?: string | null;
  held_since?: string | null;
  host?: string | null;
  held_by?: string | null;
  /** A step that has been done. */
  done?: boolean;
  /** Only an operator starts it, and none has. */
  unstarted?: boolean;
  /** Still with its spec from before the last reload. */
  behind?: boolean;
  /** The processes that stand beside it in a roll-out. */
  beside?: { beside: "successor" | "predecessor"; state: string; pid: number | null; incarnation: number }[];
  /** A process of it that SIGKILL has not ended. */
  survivor?: number | null;

  // Numbers, of rows that are seen.

  beat_age_ms?: number | null;
  beats?: number | null;
  missed?: number | null;
  /** Percent of a core. */
  cpu?: number | null;
  memory_bytes?: number | null;
  processes?: number | null;

  // What the page finds out.

  /** A beat is late, or it hangs. */
  ill?: boolean;
  /** Its last end was no success. */
  failed?: boolean;
  /** When its back-off is over, when `beat_age_ms` was received, and when `cpu_ms` was, by the server's clock. */
  waits_until?: number | null;
  seen?: number;
  measured?: number;
  cpu_ms?: number | null;
}

/** What the server sends of a row: names and values of `status --json`. */
type Sent = Partial<Pick<Row, "state" | "pid" | "incarnation" | "restarts" | "last_exit">> & {
  path: string;
  gone?: boolean;
  intensity?: { max: number | null; period_ms: number; used: number } | null;
  heartbeat?: { interval_ms: number; misses: number; age_ms: number | null; beats: number; missed: number; missed_settled?: number } | null;
  usage?: { cpu_ms: number; memory_bytes: number; processes: number } | null;
  waits_ms?: number | null;
  kill_failed?: { pid: number; others: number; reason: string } | null;
};

/** An event as `events --json` has it; what else it has depends on its kind. */
type TreeEvent = {
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
interface LogLine {
  at: string | null;
  path: string;
  pid: number | null;
  incarnation: number | null;
  text: string;
  stream?: string;
  cut?: boolean;
  continued?: boolean;
  /** Instead of a line: how many are missing here. */
  lost?: number;
  /** Instead of a line: some may be missing here. */
  gap?: boolean;
}

/** A condition of the search. */
type Test = (row: Row, now: number) => boolean;

/** By what rows are sorted within each supervisor. */
type Sort = { by: string; down: boolean };

/** What of the tree is to be seen. */
interface Wanted {
  /** Paths of supervisors whose children are not shown. */
  folded: Set<string>;
  test: Test | null;
  /** Only what is not well. */
  trouble: boolean;
  sort: Sort | null;
  /** The server's clock, in milliseconds. */
  now: number;
}

/** The picture of an incident, in units of its own. */
interface Picture {
  lanes: Lane[];
  /** Lanes that are left out. */
  more: number;
  arrows: Arrow[];
  ticks: { x: number; at: string }[];
  width: number;
}

type Span = "up" | "ill" | "stopping" | "down" | "starting";
type Stretch = { from: number; to: number; is: Span };
type Arrow = { from: { lane: number; x: number }; to: { lane: number; x: number } };

/** What happens to a child, or to several copies alike. */
interface Lane {
  path: string;
  count: number;
  paths: string[];
  spans: Stretch[];
  /** Events whose words stand in the picture. */
  marks: { x: number; id: string; kind: string }[];
}

/** An incident of the timeline. */
interface Incident {
  /** Of its first event. */
  id: string;
  at: string;
  path: string;
  /** The top-level subtree. */
  lane: string;
  /** The gravest of it: `escalation`, `hang`, `failure` or `operator`. */
  is: string;
  /** How many children were taken down. */
  size: number;
  /** Of how many events it consists. */
  events: number;
  /** The event that speaks for it. */
  worst: TreeEvent;
}

/** What a view wants from the server: numbers of rows, the beats of one, the output of a subtree. */
interface Shown {
  paths?: string[];
  select?: string | null;
  logs?: string | null;
}

/** A view, as the page has it. */
interface View {
  title: string;
  element: HTMLElement;
  /** Something has changed; at most once a frame. */
  draw(): void;
  /** The path that keys are for. */
  subject?(): string | null | undefined;
  lines?(lines: LogLine[]): void;
  /** Events of which some were not known before, with those around them; `asked`: as of `Past.add`. */
  came?(events: TreeEvent[], asked?: boolean): void;
  /** From now on all lines come; those from before can be asked for. */
  reading?(): void;
  focus?(): void;
  focusSearch?(): void;
  /** It is shown, for the first time or again. */
  open?(): void;
  close?(): void;
  /** How far it was scrolled when it was seen last. */
  top?: number;
}

/** The page, as its views have it. */
type Page = import("./assets/app.js").Page;

/** The element of a tag with classes, `div.row`. */
type Made<T extends string> = T extends `${infer Tag}.${string}`
  ? Made<Tag>
  : T extends keyof HTMLElementTagNameMap
    ? HTMLElementTagNameMap[T]
    : HTMLElement;

/** What `hosts --json` has. */
interface Cluster {
  cluster: string;
  /** The host that it is seen from. */
  here: string;
  store: { kind: string; state: string; age_ms: number | null; size_bytes: number | null; quota_bytes: number | null };
  hosts: {
    name: string;
    state: string;
    epoch: number;
    lease_left_ms: number | null;
    link: string | null;
    placed: number;
    version: string;
    cgroup: boolean;
    note: string | null;
  }[];
  instances: {
    instance: string;
    wanted: string;
    host: string | null;
    token: number | null;
    since_ms: number | null;
    note: string | null;
    candidates: { host: string; fit: boolean; why: string }[];
    /** Absent from agents of earlier versions. */
    subtrees?: { path: string; host: string | null; token: number; since_ms: number | null; note: string | null }[];
  }[];
}
