/** A chat template with a place for tools, written as the released Hymba models' is. */
export const toolTemplate = `{{ bos_token }}<extra_id_0>System{% for message in messages %}{% if message['role'] == 'system' %}
{{ message['content'] }}{% endif %}{% endfor %}{% if tools %}{% for tool in tools %}
<tool> {{ tool | tojson }} </tool>{% endfor %}{% endif %}

{% for message in messages %}{% if message['role'] == 'user' %}<extra_id_1>User
{{ message['content'] }}
{% elif message['role'] == 'assistant' %}<extra_id_1>Assistant
{{ message['content'] }}</s>
{% elif message['role'] == 'tool' %}<extra_id_1>Tool
{{ message['content'] }}
{% endif %}{% endfor %}{% if add_generation_prompt %}<extra_id_1>Assistant
{% endif %}`;
