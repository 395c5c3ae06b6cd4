/** What a model was trained with, by the names that the form has for it; else what its files say. */
import { useQuery } from "@tanstack/react-query";
import { Collapse, Table } from "antd";
import { useMemo } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import type { ModelDetails } from "../../api/models";
import { count } from "../../logic/format";
import { flat, written } from "../../logic/recipes";
import { nameOf } from "../../texts/fields";
import { useTexts } from "../../texts/language";

interface Row {
  path: string;
  value: string;
  field: Schemas["FieldRead"] | undefined;
}

export function Parameters({ model }: { model: ModelDetails }) {
  const texts = useTexts();
  const schema = useQuery({
    queryKey: keys.schema("default"),
    queryFn: () => ask(api.GET("/api/v1/recipes/schema", { params: { query: { profile: "default" } } })),
    staleTime: Infinity,
    enabled: model.recipe !== null,
  });
  const [chosen, usual] = useMemo(() => {
    const named = new Map(schema.data?.fields.map((field) => [field.path, field]));
    const rows = Object.entries(flat(written(model.recipe ?? model.details)))
      .map(([path, value]): Row => ({ path, value, field: named.get(path) }))
      .filter(({ value }) => value !== "");
    const isUsual = ({ value, field }: Row) => field !== undefined && flat(written(field.default))[""] === value;
    return [rows.filter((row) => !isUsual(row)), rows.filter(isUsual)];
  }, [model, schema.data]);
  return (
    <div className="stack">
      <Rows rows={chosen} />
      {usual.length > 0 && (
        <Collapse
          items={[
            {
              key: "usual",
              label: texts("model.atDefaults", { count: count(usual.length) }),
              children: <Rows rows={usual} />,
            },
          ]}
        />
      )}
    </div>
  );
}

function Rows({ rows }: { rows: Row[] }) {
  const texts = useTexts();
  return (
    <Table<Row>
      rowKey="path"
      size="small"
      tableLayout="fixed"
      pagination={false}
      dataSource={rows}
      columns={[
        {
          title: texts("model.parameter"),
          key: "name",
          width: "45%",
          render: (_, { path, field }) => (
            <>
              {field && <div>{nameOf(field)}</div>}
              <div className="quiet mono any" style={{ fontSize: 12 }}>
                {path}
              </div>
            </>
          ),
        },
        { title: texts("yaml.value"), dataIndex: "value", className: "mono any" },
      ]}
    />
  );
}
