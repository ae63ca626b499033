import { type Dashboard, perSecond, quantiles } from './panel.ts';

/** What clients see. */
export const serving: Dashboard = {
  uid: 'baton-serving',
  title: 'Baton: serving',
  panels: [
    {
      title: 'Generations ended',
      description: 'Each second, by operation.',
      unit: 'reqps',
      targets: [perSecond('gen_ai_server_request_duration_seconds_count', 'gen_ai_operation_name')],
    },
    {
      title: 'Time to first token',
      description: 'From the request on, with validation, the wait in the queue and the prefill.',
      unit: 's',
      targets: quantiles('gen_ai_server_time_to_first_token_seconds', [0.5, 0.9, 0.99]),
    },
    {
      title: 'Time per output token',
      description:
        'The mean of each generation after its first token. A failover shows in the upper quantiles.',
      unit: 's',
      targets: quantiles('gen_ai_server_time_per_output_token_seconds', [0.5, 0.9, 0.99]),
    },
    {
      title: 'Request duration',
      description: 'From the request to the last token.',
      unit: 's',
      targets: quantiles('gen_ai_server_request_duration_seconds', [0.5, 0.9, 0.99]),
    },
    {
      title: 'Tokens',
      description: 'Each second, over all workers: fed to the model (in) and sampled (out).',
      unit: 'cps',
      targets: [perSecond('baton_engine_tokens_total', 'baton_direction')],
    },
    {
      title: 'Queue',
      description:
        'Generations that wait for a slot, and that run. Waiting ones mean that more workers would help.',
      unit: 'short',
      targets: [
        {
          expr: 'max by (baton_state) (baton_queue_depth{baton_state!="failed"})',
          legend: '{{baton_state}}',
        },
      ],
    },
    {
      title: 'Wait in the queue',
      description: 'From adding a job to the first worker that takes it.',
      unit: 's',
      targets: quantiles('baton_queue_wait_duration_seconds', [0.5, 0.99]),
    },
    {
      title: 'Refused requests',
      description: 'Each second, by error code.',
      unit: 'reqps',
      targets: [
        {
          // Every code is there from the beginning: only those that came up.
          expr: 'sum by (error_type) (rate(baton_rejections_total[$__rate_interval])) and sum by (error_type) (baton_rejections_total) > 0',
          legend: '{{error_type}}',
        },
      ],
    },
    {
      title: 'Tokens by tenant',
      description: 'Prompt and output tokens of ended generations, each second.',
      unit: 'cps',
      targets: [
        {
          expr: 'sum by (baton_tenant) (rate(baton_tenant_tokens_total{baton_kind!="cached"}[$__rate_interval]))',
          legend: '{{baton_tenant}}',
        },
      ],
    },
  ],
};
