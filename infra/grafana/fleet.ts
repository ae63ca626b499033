import { type Dashboard, quantiles } from './panel.ts';

/** How each worker and gateway is. */
export const fleet: Dashboard = {
  uid: 'baton-fleet',
  title: 'Baton: fleet',
  panels: [
    {
      title: 'Workers',
      description: 'By state, as the gateways hear them. Silent ones are lost.',
      unit: 'short',
      targets: [{ expr: 'max by (baton_state) (baton_fleet_workers) > 0', legend: '{{baton_state}}' }],
    },
    {
      title: 'Slots in use',
      description: 'Generations that each worker runs.',
      unit: 'short',
      stacked: true,
      targets: [{ expr: 'baton_worker_slots{baton_state="used"}', legend: '{{instance}}' }],
    },
    {
      title: 'Free slots',
      description: 'Over the whole fleet. At none, generations wait.',
      unit: 'short',
      targets: [{ expr: 'sum(baton_worker_slots{baton_state="free"})', legend: 'free' }],
    },
    {
      title: 'Tokens sampled',
      description: 'Each second, by worker.',
      unit: 'cps',
      stacked: true,
      targets: [
        {
          expr: 'sum by (instance) (rate(baton_engine_tokens_total{baton_direction="out"}[$__rate_interval]))',
          legend: '{{instance}}',
        },
      ],
    },
    {
      title: 'Batch size',
      description: 'Sequences that share a decode step, on average.',
      unit: 'none',
      targets: [
        {
          expr:
            'sum by (instance) (rate(baton_engine_batch_size_sum[$__rate_interval])) / ' +
            'sum by (instance) (rate(baton_engine_batch_size_count[$__rate_interval]))',
          legend: '{{instance}}',
        },
      ],
    },
    {
      title: 'Step time',
      description: 'What the model takes for one step, by phase.',
      unit: 's',
      targets: quantiles('baton_engine_step_duration_seconds', [0.5, 0.99], ['baton_phase']),
    },
    {
      title: 'State memory',
      description: 'Of running generations, and warm states of ended turns.',
      unit: 'decbytes',
      targets: [
        {
          expr: 'sum by (baton_state) (baton_state_memory_bytes)',
          legend: '{{baton_state}}',
        },
      ],
    },
    {
      title: 'Event-loop delay, p99',
      description: 'A worker that stands still for long is taken for lost.',
      unit: 's',
      targets: [{ expr: 'max by (instance) (nodejs_eventloop_delay_p99_seconds)', legend: '{{instance}}' }],
    },
    {
      title: 'Event-loop utilisation',
      description: 'Near 1 the process has no time to spare.',
      unit: 'percentunit',
      targets: [{ expr: 'max by (instance) (nodejs_eventloop_utilization_ratio)', legend: '{{instance}}' }],
    },
    {
      title: 'Heap',
      description: 'JavaScript memory in use, by process.',
      unit: 'decbytes',
      targets: [{ expr: 'sum by (instance) (v8js_memory_heap_used_bytes)', legend: '{{instance}}' }],
    },
    {
      title: 'WebSockets',
      description: 'Open connections.',
      unit: 'short',
      targets: [{ expr: 'sum(baton_websockets)', legend: 'open' }],
    },
    {
      title: 'Backlog of slow clients',
      description: 'Bytes that wait in WebSockets. Beyond a bound a client is served from the log instead.',
      unit: 'decbytes',
      targets: [{ expr: 'sum(baton_delivery_backlog_bytes)', legend: 'bytes' }],
    },
  ],
};
