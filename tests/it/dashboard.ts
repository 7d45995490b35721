// The shape of contrib/grafana/treevisor.json, by Grafana's own types. Enums are written there as the words that they stand for.
import type { Dashboard } from "@grafana/schema";

type Written<T> = T extends string ? `${T}`
    : T extends (infer One)[] ? Written<One>[]
    : T extends object ? { [Key in keyof T]: Written<T[Key]> }
    : T;

export const dashboard: Written<Dashboard> =
