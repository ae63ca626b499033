import { type Dashboard, perSecond, quantiles } from './panel.ts';

/** How sessions move and what is kept of them. */
export const sessions: Dashboard = {
  uid: 'baton-sessions',
  title: 'Baton: sessions and failover',
  panels: [
    {
      title: 'Takeovers',
      description:
        'Generations that another worker went on with, each minute: failovers and planned migrations.',
      unit: 'short',
      targets: [
        {
          expr: 'sum by (baton_cause) (60 * rate(baton_takeovers_total[$__rate_interval]))',
          legend: '{{baton_cause}}',
        },
      ],
    },
    {
      title: 'Replayed tokens',
      description:
        'Output tokens of lost owners that were computed again, each minute. Snapshots bound them.',
      unit: 'short',
      targets: [{ expr: 'sum(60 * rate(baton_replayed_tokens_total[$__rate_interval]))', legend: 'tokens' }],
    },
    {
      title: 'Where states come from',
      description: 'Generations begun each minute: from nothing, a warm state, a snapshot.',
      unit: 'short',
      stacked: true,
      targets: [
        {
          expr: 'sum by (baton_restore_source) (60 * rate(baton_restores_total[$__rate_interval]))',
          legend: '{{baton_restore_source}}',
        },
      ],
    },
    {
      title: 'Restore duration',
      description: 'Bringing a state into a slot, by where it comes from.',
      unit: 's',
      targets: quantiles('baton_restore_duration_seconds', [0.5, 0.99], ['baton_restore_source']),
    },
    {
      title: 'Snapshots not saved or refused',
      description:
        'Each minute, by reason. Such generations are computed again from their tokens if they move.',
      unit: 'short',
      targets: [
        {
          expr: 'sum by (baton_outcome) (60 * rate(baton_snapshots_total{baton_outcome!="saved"}[$__rate_interval]))',
          legend: 'not saved: {{baton_outcome}}',
        },
        {
          expr: 'sum by (error_type) (60 * rate(baton_restore_refusals_total[$__rate_interval]))',
          legend: 'refused: {{error_type}}',
        },
      ],
    },
    {
      title: 'Snapshot bytes',
      description:
        'Each second: of the states as float32, as encoded, and of pages that were new to the store.',
      unit: 'Bps',
      targets: [perSecond('baton_snapshot_size_bytes_total', 'baton_kind')],
    },
    {
      title: 'Snapshot duration',
      description: 'Encoding and storing one, off the decoding path.',
      unit: 's',
      targets: quantiles('baton_snapshot_duration_seconds', [0.5, 0.99]),
    },
    {
      title: 'Compression',
      description: 'Raw bytes of a snapshot for each stored one, and for each that had to be sent.',
      unit: 'none',
      targets: ['stored', 'new'].map((kind) => ({
        expr:
          'sum(rate(baton_snapshot_size_bytes_total{baton_kind="raw"}[$__rate_interval])) / ' +
          `sum(rate(baton_snapshot_size_bytes_total{baton_kind="${kind}"}[$__rate_interval]))`,
        legend: `raw / ${kind}`,
      })),
    },
    {
      title: 'Token log',
      description: 'From sending an entry to its acknowledgement.',
      unit: 's',
      targets: quantiles('baton_log_append_duration_seconds', [0.5, 0.9, 0.99]),
    },
    {
      title: 'Fenced appends and slow readers',
      description:
        'Each minute: appends of owners that had lost their generation, and live feeds that overflowed.',
      unit: 'short',
      targets: [
        {
          expr: 'sum(60 * rate(baton_log_fenced_appends_total[$__rate_interval]))',
          legend: 'fenced appends',
        },
        {
          expr: 'sum(60 * rate(baton_log_feed_overflows_total[$__rate_interval]))',
          legend: 'feed overflows',
        },
      ],
    },
    {
      title: 'Resumed streams',
      description: 'Each minute, by how the client came back.',
      unit: 'short',
      targets: [
        {
          expr: 'sum by (baton_transport) (60 * rate(baton_resumes_total[$__rate_interval]))',
          legend: '{{baton_transport}}',
        },
      ],
    },
    {
      title: 'Ended generations',
      description: 'Each minute, by how.',
      unit: 'short',
      targets: [
        {
          expr: 'sum by (baton_outcome) (60 * rate(baton_generations_total[$__rate_interval]))',
          legend: '{{baton_outcome}}',
        },
      ],
    },
  ],
};
