/** What a model was trained with, by the names that the form has for it; else what its files say. */
import { useQuery } from "@tanstack/react-query";
import { Table } from "antd";
import { useMemo } from "react";
import { api, ask } from "../../api/client";
import { keys } from "../../api/keys";
import type { ModelDetails } from "../../api/models";
import { flat } from "../../logic/recipes";
import { nameOf } from "../../texts/fields";
import { useTexts } from "../../texts/language";

const EMPTY = new Set(["null", "[]", "{}", ""]);

export function Parameters({ model }: { model: ModelDetails }) {
  const texts = useTexts();
  const schema = useQuery({
    queryKey: keys.schema("default"),
    queryFn: () => ask(api.GET("/api/v1/recipes/schema", { params: { query: { profile: "default" } } })),
    staleTime: Infinity,
    enabled: model.recipe !== null,
  });
  const named = useMemo(() => new Map(schema.data?.fields.map((field) => [field.path, field])), [schema.data]);
  const rows = useMemo(
    () =>
      Object.entries(flat(model.recipe ?? model.details))
        .filter(([, value]) => !EMPTY.has(value))
        .map(([path, value]) => ({ path, value, field: named.get(path) })),
    [model, named],
  );
  return (
    <Table
      rowKey="path"
      size="small"
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
