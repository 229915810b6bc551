// A dashboard's JSON, told strictly: Grafana's own types with what they leave open (a panel's options, the fields of its
// kind, its queries) filled in, so that the compiler refuses a property that Grafana does not know.
import type { AnnotationQuery, Dashboard, DataQuery, FieldConfig, Panel, RowPanel } from "@grafana/schema";
import type * as bargauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as timeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
import type { Dataquery } from "@grafana/grafana-foundation-sdk/prometheus";
import type * as units from "@grafana/grafana-foundation-sdk/units";

// JSON has the values of an enumeration, and not its names.
type Json<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends number
      ? `${T}` extends `${infer N extends number}`
        ? N
        : never
      : { [K in keyof T]: Json<T[K]> };

// What Prometheus' annotations have beside Grafana's own: Grafana 12 reads the target, Grafana 11 expr and step.
interface PrometheusAnnotation extends AnnotationQuery<DataQuery & { expr: string; interval: string }> {
  expr?: string;
  step?: string;
  tagKeys?: string;
  textFormat?: string;
  titleFormat?: string;
  useValueForTime?: boolean;
}

// The variable, not one of Grafana's data sources by its own id.
interface Source {
  type: "prometheus";
  uid: "${datasource}";
}

type Query = Omit<Dataquery, "_implementsDataqueryVariant" | "datasource"> & { datasource: Source };

type Custom<C> = { [K in keyof C & string]-?: { id: `custom.${K}`; value: C[K] } }[keyof C & string];
type Plain = Exclude<keyof FieldConfig, "custom">;
type Standard = { [K in Plain]-?: { id: K; value: FieldConfig[K] } }[Plain];
interface Override<C> {
  matcher: { id: "byName"; options: string };
  properties: Array<Custom<C> | Standard>;
}

type Strict<Kind, Options, C> = Omit<Panel, "type" | "options" | "fieldConfig" | "targets" | "datasource"> & {
  type: Kind;
  datasource: Source;
  options: Options;
  targets: Query[];
  fieldConfig: { defaults: Omit<FieldConfig, "custom" | "unit"> & { custom?: C; unit: (typeof units)[keyof typeof units] }; overrides: Override<C>[] };
};

// Grafana publishes no type of this panel's options: these are the ones that its documentation names.
interface AlertListOptions {
  alertInstanceLabelFilter: string;
  alertName: string;
  dashboardAlerts: boolean;
  datasource: string;
  groupBy: string[];
  groupMode: "default" | "custom";
  maxItems: number;
  sortOrder: 1 | 2 | 3 | 4 | 5;
  stateFilter: { error: boolean; firing: boolean; noData: boolean; normal: boolean; pending: boolean };
  viewMode: "list" | "stat";
}

type None = Record<string, never>;

export interface Panels {
  alertlist: Json<Omit<Panel, "type" | "options"> & { type: "alertlist"; options: AlertListOptions }>;
  bargauge: Json<Strict<"bargauge", bargauge.Options, None>>;
  heatmap: Json<Strict<"heatmap", heatmap.Options, heatmap.FieldConfig>>;
  row: Json<RowPanel>;
  stat: Json<Strict<"stat", stat.Options, None>>;
  "state-timeline": Json<Strict<"state-timeline", timeline.Options, timeline.FieldConfig>>;
  table: Json<Strict<"table", table.Options, table.FieldConfig>>;
  timeseries: Json<Strict<"timeseries", timeseries.Options, timeseries.FieldConfig>>;
}

export type Frame = Json<Omit<Dashboard, "panels" | "annotations">>;
export type Annotation = Json<PrometheusAnnotation>;
