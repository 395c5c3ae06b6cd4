/** The rows as a table that is loaded as it scrolls; a click shows a row as the model sees it. */
import { Button, Input, Select, Table, Tag } from "antd";
import { useDeferredValue, useState } from "react";
import { useSearchParams } from "react-router";
import { useInfiniteQuery } from "@tanstack/react-query";
import { api, ask } from "../../api/client";
import { keys } from "../../api/keys";
import { useSession } from "../../app/session";
import { count } from "../../logic/format";
import { excerpt } from "../../logic/row";
import { ErrorBox } from "../../parts/error";
import { Nothing } from "../../parts/page";
import { useTexts } from "../../texts/language";
import type { PartProps } from "./dataset";
import { AddRow, RemoveRows } from "./edit";
import { Preview } from "./preview";

const PAGE = 100;
const HEIGHT = 560;
const ORDERS = ["id", "longest", "shortest", "turns"] as const;
type Order = (typeof ORDERS)[number];
const SORTS: Record<Order, { sort: string; descending: boolean } | null> = {
  id: null,
  longest: { sort: "answer_length", descending: true },
  shortest: { sort: "answer_length", descending: false },
  turns: { sort: "turns", descending: true },
};
type Row = Record<string, unknown> & { id: number };

export function Rows({ dataset, version }: PartProps) {
  const texts = useTexts();
  const [search, setSearch] = useSearchParams();
  const { mayWrite } = useSession();
  const [written, setWritten] = useState("");
  const [order, setOrder] = useState<Order>("id");
  const [chosen, setChosen] = useState<number[]>([]);
  const [isAdding, setAdding] = useState(false);
  const mayEdit = mayWrite && version === dataset.num_versions;
  const where = search.get("where") ?? "";
  const text = useDeferredValue(written);
  const opened = Number(search.get("row")) || null;
  const address = (name: "row" | "where", value: string) => {
    const next = new URLSearchParams(search);
    if (value) next.set(name, value);
    else next.delete(name);
    setSearch(next, { replace: true });
  };
  const open = (row: number | null) => address("row", row === null ? "" : String(row));
  const sorted = SORTS[order];
  const query = { limit: PAGE, ...sorted, ...(text ? { search: text } : {}), ...(where ? { where } : {}) };
  const rows = useInfiniteQuery({
    queryKey: keys.datasetPart(dataset.id, "rows", version, query),
    queryFn: ({ pageParam }) =>
      ask(
        api.GET("/api/v1/datasets/{dataset_id}/versions/{number}/rows", {
          params: { path: { dataset_id: dataset.id, number: version }, query: { ...query, ...(sorted ? { offset: pageParam } : { after: pageParam }) } },
        }),
      ),
    initialPageParam: 0,
    getNextPageParam: (page, pages) => {
      if (!page.has_more) return undefined;
      return sorted ? pages.length * PAGE : (page.next_after ?? undefined);
    },
    staleTime: Infinity,
  });
  const items = (rows.data?.pages.flatMap((page) => page.data) ?? []) as Row[];
  const total = rows.data?.pages[0]?.total ?? 0;
  const isPaired = items.some((row) => excerpt(row).rejected !== undefined);
  const isJudged = items.some((row) => excerpt(row).good !== undefined);
  const isNarrowed = Boolean(text || where); // nobody has counted how many there are
  const loadMore = () => {
    if (rows.hasNextPage && !rows.isFetchingNextPage) void rows.fetchNextPage();
  };

  return (
    <>
      <div className="bar">
        <Input.Search
          allowClear
          style={{ width: 240 }}
          aria-label={texts("rows.search")}
          placeholder={texts("rows.search")}
          onChange={(event) => setWritten(event.target.value)}
        />
        <Input.Search
          allowClear
          className="mono"
          style={{ width: 320 }}
          aria-label={texts("rows.where")}
          placeholder="answer_length < 20"
          enterButton={texts("rows.filter")}
          key={where}
          defaultValue={where}
          onSearch={(condition) => address("where", condition)}
        />
        <Select<Order>
          aria-label={texts("rows.sort")}
          style={{ width: 200 }}
          value={order}
          onChange={setOrder}
          options={ORDERS.map((value) => ({ value, label: texts(`rows.sort.${value}`) }))}
        />
        <span className="grow" />
        {mayEdit && <Button onClick={() => setAdding(true)}>{texts("edit.add")}</Button>}
        {chosen.length > 0 && <RemoveRows dataset={dataset} version={version} rows={chosen} onDone={() => setChosen([])} />}
        {rows.data && <span className="quiet numbers">{isNarrowed ? texts("rows.found", { count: `${count(items.length)}${rows.hasNextPage ? "+" : ""}` }) : texts("dataset.rowsOf", { count: count(total) })}</span>}
      </div>
      <ErrorBox error={rows.error} />
      <Table<Row>
        virtual
        rowKey="id"
        size="small"
        loading={rows.isFetching}
        {...(mayEdit
          ? { rowSelection: { selectedRowKeys: chosen, onChange: (ids) => setChosen(ids.map(Number)), columnWidth: 48 } }
          : {})}
        dataSource={items}
        pagination={false}
        scroll={{ x: 760, y: HEIGHT }}
        onScroll={({ currentTarget: box }) => {
          if (box.scrollHeight - box.scrollTop - box.clientHeight < 2 * HEIGHT) loadMore();
        }}
        onRow={(row) => ({
          tabIndex: 0,
          style: { cursor: "pointer" },
          onClick: () => open(row.id),
          onKeyDown: (event) => event.key === "Enter" && open(row.id),
        })}
        locale={{ emptyText: <Nothing text={texts("rows.none")} /> }}
        columns={[
          { title: "#", dataIndex: "id", width: 80, className: "numbers" },
          { title: texts("rows.question"), key: "question", width: 320, ellipsis: true, render: (_, row) => excerpt(row).question },
          {
            title: texts(isPaired ? "preview.chosen" : "rows.answer"),
            key: "answer",
            ellipsis: true,
            render: (_, row) => excerpt(row).answer,
          },
          ...(isPaired
            ? [{ title: texts("preview.rejected"), key: "rejected", ellipsis: true, render: (_: unknown, row: Row) => excerpt(row).rejected ?? "" }]
            : []),
          ...(isJudged ? [{ title: texts("rows.judged"), key: "judged", width: 100, render: (_: unknown, row: Row) => <Judged row={row} /> }] : []),
        ]}
      />
      {rows.hasNextPage && (
        <div className="quiet" style={{ padding: 8 }}>
          {texts("rows.shown", { shown: count(items.length), total: count(total) })}
        </div>
      )}
      {isAdding && <AddRow dataset={dataset} version={version} onClose={() => setAdding(false)} />}
      {opened !== null && <Preview dataset={dataset} version={version} row={opened} onClose={() => open(null)} />}
    </>
  );
}

function Judged({ row }: { row: Row }) {
  const texts = useTexts();
  const { good } = excerpt(row);
  if (good === undefined) return null;
  return <Tag color={good ? "success" : "error"}>{texts(good ? "rows.good" : "rows.bad")}</Tag>;
}
