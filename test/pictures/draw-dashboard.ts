import { type EChartsOption, init } from 'echarts';
import type { Dashboard, Panel, Unit } from '../../infra/grafana/panel.ts';
import type { Line, PanelData } from './data.ts';

const columns = 3;
const width = 1440;
const margin = 16;
const rowHeight = 252;
const top = 84;
const palette = ['#3274d9', '#e0752d', '#299c46', '#8f3bb8', '#c4162a', '#b7950b', '#0a7f8c', '#d63d8c'];
const font = 'Inter, Segoe UI, DejaVu Sans, sans-serif';
const grey = '#6b7280';

/** A dashboard's panels over one run, as Grafana would lay them out. */
export function drawDashboard({ uid, title, panels }: Dashboard, data: PanelData): string {
  const height = top + Math.ceil(panels.length / columns) * (rowHeight + margin) + margin;
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height });
  const parts = panels.map((panel, index) =>
    partOf(panel, index, data.panels[uid]?.[panel.title] ?? [], data),
  );
  chart.setOption({
    animation: false,
    backgroundColor: '#f4f5f7',
    color: palette,
    textStyle: { fontFamily: font },
    title: [
      { text: title, left: margin, top: 14, textStyle: { fontSize: 20, color: '#111827', fontFamily: font } },
      {
        text: `one run of ${secondsOf(data)} s, ${data.recorded.slice(0, 10)}  ·  ${data.disturbances.map(({ at, what }) => `${what} at ${at} s`).join(', ')}`,
        left: margin,
        top: 44,
        textStyle: { fontSize: 12, fontWeight: 'normal', color: grey, fontFamily: font },
      },
      ...parts.flatMap((part) => part.titles),
    ],
    graphic: parts.map((part) => part.card),
    legend: parts.map((part) => part.legend),
    grid: parts.map((part) => part.grid),
    xAxis: parts.map((part) => part.xAxis),
    yAxis: parts.map((part) => part.yAxis),
    series: parts.flatMap((part) => part.series),
  } as EChartsOption);
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

function partOf(panel: Panel, index: number, lines: readonly Line[], data: PanelData) {
  const { title, description, unit, stacked = false } = panel;
  const w = (width - margin * (columns + 1)) / columns;
  const x = margin + (index % columns) * (w + margin);
  const y = top + Math.floor(index / columns) * (rowHeight + margin);
  const clamp = description.length > 74 ? `${description.slice(0, 72).replace(/\s\S*$/, '')} …` : description;
  const names = lines.map(({ name }) => `${index}:${name}`);
  const most = Math.max(0, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0)));
  return {
    card: {
      type: 'rect',
      z: -10,
      shape: { x, y, width: w, height: rowHeight, r: 6 },
      style: { fill: '#ffffff', stroke: '#dfe2e7', lineWidth: 1 },
      silent: true,
    },
    titles: [
      {
        text: title,
        left: x + 12,
        top: y + 10,
        textStyle: { fontSize: 14, color: '#1f2937', fontFamily: font },
      },
      {
        text: clamp,
        left: x + 12,
        top: y + 31,
        textStyle: { fontSize: 11, fontWeight: 'normal', color: grey, fontFamily: font },
      },
    ],
    legend: {
      data: names,
      formatter: (name: string) => name.slice(name.indexOf(':') + 1),
      left: x + 8,
      top: y + rowHeight - 28,
      width: w - 16,
      type: 'scroll',
      pageIconSize: 0,
      pageTextStyle: { color: 'transparent' },
      icon: 'roundRect',
      itemWidth: 12,
      itemHeight: 4,
      itemGap: 12,
      textStyle: { fontSize: 11, color: '#374151', fontFamily: font },
    },
    grid: { left: x + 62, top: y + 60, width: w - 80, height: rowHeight - 118 },
    xAxis: {
      gridIndex: index,
      type: 'value',
      min: 0,
      max: secondsOf(data),
      interval: 30,
      axisLabel: { formatter: '{value} s', showMaxLabel: false, fontSize: 10, color: grey, fontFamily: font },
      axisLine: { lineStyle: { color: '#c7ccd4' } },
      splitLine: { show: false },
    },
    yAxis: {
      gridIndex: index,
      type: 'value',
      min: 0,
      ...(most === 0 && { max: 1, interval: 0.5 }),
      ...(unit === 'percentunit' && { max: 1 }),
      splitNumber: 4,
      axisLabel: {
        formatter: (value: number) => inUnit(value, unit),
        fontSize: 10,
        color: grey,
        fontFamily: font,
      },
      splitLine: { lineStyle: { color: '#eceef1' } },
    },
    series: lines.map(({ name, values }, at) => ({
      type: 'line',
      name: `${index}:${name}`,
      xAxisIndex: index,
      yAxisIndex: index,
      data: values.map((value, i) => [i * data.step, value]),
      showSymbol: false,
      connectNulls: false,
      color: palette[at % palette.length],
      lineStyle: { width: 1.8 },
      ...(stacked && { stack: `${index}`, areaStyle: { opacity: 0.35 } }),
      ...(!stacked && lines.length === 1 && { areaStyle: { opacity: 0.12 } }),
      ...(at === 0 && {
        markLine: {
          silent: true,
          symbol: 'none',
          label: { show: false },
          lineStyle: { color: '#9aa1ac', type: 'dashed', width: 1 },
          data: data.disturbances.map((disturbance) => ({ xAxis: disturbance.at })),
        },
      }),
    })),
  };
}

function secondsOf({ panels, step }: PanelData): number {
  const lengths = Object.values(panels).flatMap((lines) =>
    Object.values(lines).flatMap((all) => all.map(({ values }) => values.length)),
  );
  return (Math.max(1, ...lengths) - 1) * step;
}

/** As Grafana's axes write it. */
function inUnit(value: number, unit: Unit): string {
  const short = (n: number) =>
    n >= 1000 ? `${Number((n / 1000).toPrecision(3))}k` : String(Number(n.toPrecision(3)));
  const bytes = (n: number) =>
    n >= 1e6
      ? `${Number((n / 1e6).toPrecision(3))} MB`
      : n >= 1000
        ? `${Number((n / 1000).toPrecision(3))} kB`
        : `${n} B`;
  switch (unit) {
    case 's':
      return value < 1 ? `${Number((value * 1000).toPrecision(3))} ms` : `${short(value)} s`;
    case 'decbytes':
      return bytes(value);
    case 'Bps':
      return `${bytes(value)}/s`;
    case 'reqps':
    case 'cps':
      return `${short(value)}/s`;
    case 'percentunit':
      return `${short(value * 100)} %`;
    default:
      return short(value);
  }
}
