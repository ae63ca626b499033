import { parser } from '@prometheus-io/lezer-promql';

/** The metrics that an expression reads. Throws where Prometheus would not understand it. */
export function metricsOf(expression: string): Set<string> {
  const names = new Set<string>();
  // Grafana puts the range in before Prometheus sees it, and of the same length nothing else moves.
  const text = expression.replaceAll('$__rate_interval', '5m');
  parser.parse(text).iterate({
    enter({ type, from, to, node }) {
      if (type.isError) throw new Error(`not PromQL at ${from}: ${text}`);
      if (type.name === 'Identifier' && node.parent?.name === 'VectorSelector')
        names.add(text.slice(from, to));
    },
  });
  return names;
}
