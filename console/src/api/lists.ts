/** Lists that come in parts: what is there, and how to get more. */
import { useInfiniteQuery, type QueryKey } from "@tanstack/react-query";
import { useMemo } from "react";

interface Listed<T> {
  data: T[];
  has_more: boolean;
  last_id?: string | null;
}

export interface Loaded<T> {
  items: T[];
  isLoading: boolean;
  error: Error | null;
  more: (() => void) | null;
  isLoadingMore: boolean;
  again: () => void;
}

/** All parts that were asked for, as one list. `load` gets the id to go on after. */
export function useList<T>(
  queryKey: QueryKey,
  load: (after: string | undefined) => Promise<Listed<T>>,
  options: { refetchInterval?: number; enabled?: boolean } = {},
): Loaded<T> {
  const query = useInfiniteQuery({
    queryKey,
    queryFn: ({ pageParam }) => load(pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => (page.has_more ? (page.last_id ?? undefined) : undefined),
    ...options,
  });
  const items = useMemo(() => query.data?.pages.flatMap((page) => page.data) ?? [], [query.data]);
  return {
    items,
    isLoading: query.isLoading,
    error: query.error,
    more: query.hasNextPage ? () => void query.fetchNextPage() : null,
    isLoadingMore: query.isFetchingNextPage,
    again: () => void query.refetch(),
  };
}
