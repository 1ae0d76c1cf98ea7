-- Events as the collector writes them after sanitizing, shaped after the recorded ones of 2.1.330.
--
-- A session is 100 events: 5 of the start, then 5 turns of 19 that share their ids as the client's do (a
-- decision, its result and its API request carry one request id). Ids have their real length and are random.
-- Ten members, of whom m = 0 is the stack's own; every other one is signed in with an account, so four
-- pseudonyms stand on each of their events. Everything follows from the number of the session.

INSERT INTO telemetry.otel_logs_in
    (Timestamp, ServiceName, Body, ResourceAttributes, ScopeName, ScopeVersion, LogAttributes)
WITH
    h -> concat(substring(h, 1, 8), '-', substring(h, 9, 4), '-4', substring(h, 14, 3), '-a', substring(h, 18, 3), '-', substring(h, 21, 12)) AS uuid,
    h -> base58Encode(reinterpretAsFixedString(h)) AS letters,
    intDiv(number, 100) + {first:UInt64} AS s,
    number % 100 AS i,
    if(i < 5, 99, intDiv(i - 5, 19)) AS t,
    if(i < 5, i, (i - 5) % 19) AS p,
    sipHash64(s, i) AS x,
    toUInt32(exp(randNormal(6, 1.2, number + 1))) AS size,
    ['user_prompt', 'tool_decision', 'api_request', 'tool_result', 'tool_decision', 'api_request', 'tool_result',
     'assistant_response', 'tool_decision', 'api_request', 'tool_result', 'tool_decision', 'api_request', 'tool_result',
     'tool_decision', 'api_request', 'tool_result', 'api_request', 'assistant_response'] AS turn,
    multiIf(
        i = 0, 'managed_settings_resolved',
        i < 5, 'plugin_loaded',
        p = 17 AND x % 8 = 0, 'api_error',
        p = 13 AND x % 5 = 0, 'hook_execution_complete',
        turn[p + 1]) AS event,
    -- Which API request of the turn a position belongs to.
    [0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6][p + 1] AS r,
    sipHash64(s, 'member') % 10 AS m,
    uuid(lower(hex(sipHash128(s, 'session')))) AS session,
    uuid(lower(hex(sipHash128(s, t, 'prompt')))) AS prompt,
    concat('req_011C', substring(letters(sipHash128(s, t, r, 'request')), 1, 20)) AS request,
    concat('toolu_01', leftPad(letters(sipHash128(s, t, r, 'tool')), 22, 'a')) AS tool,
    ['Bash', 'Edit', 'Read', 'Write', 'Grep', 'Glob', 'Task', 'WebFetch'][sipHash64(s, t, r) % 8 + 1] AS tool_name,
    ['claude-opus-5-5', 'claude-sonnet-5-5', 'claude-haiku-4-5'][sipHash64(s, t, r, 'model') % 3 + 1] AS model,
    k -> concat('p1:', lower(hex(sipHash128(m, k))), lower(hex(sipHash128(k, m)))) AS pseudonym,
    ['2.1.330', '2.1.281', '2.1.200'][m % 3 + 1] AS version,
    map(
        'team', 'book',
        'chapter', concat('ch', leftPad(toString(sipHash64(s, 'chapter') % 12), 2, '0')),
        'git.branch', concat('ch', leftPad(toString(sipHash64(s, 'branch') % 20), 2, '0'), '-draft')) AS context
SELECT
    fromUnixTimestamp64Milli(toInt64({begin:UInt64} * 1000 + sipHash64(s, 'begin') % ({seconds:UInt64} * 1000)
        + if(i < 5, i * 40, 1000 + t * 240000 + p * 7000 + x % 6000)), 'UTC'),
    'claude-code',
    event,
    mapConcat(context, map(
        'member', if(m = 0, {member:String}, concat('m-', substring(lower(hex(sipHash128(m))), 1, 10))),
        'service.name', 'claude-code', 'service.version', version, 'os.type', 'linux', 'os.version', '6.12.57-generic',
        'host.arch', 'amd64')),
    'com.anthropic.claude_code.events',
    version,
    mapConcat(
        context,
        map(
            'session.id', session, 'event.name', event, 'event.sequence', toString(i),
            'user.id', concat(lower(hex(sipHash128(m, 'a'))), lower(hex(sipHash128(m, 'b')))),
            'terminal.type', 'xterm-256color', 'anthropic.provider', 'firstParty', 'anthropic.custom_base_url', 'true'),
        if(i < 5, map(), map('prompt.id', prompt)),
        if(m % 2 = 0, map(), map(
            'user.email', pseudonym('email'), 'user.account_uuid', pseudonym('uuid'),
            'user.account_id', pseudonym('id'), 'organization.id', pseudonym('organization'))),
        multiIf(
            event = 'api_request', map(
                'model', model, 'input_tokens', toString(x % 3000), 'output_tokens', toString(size % 4000),
                'cache_read_tokens', toString(x % 200000), 'cache_creation_tokens', toString(size % 20000),
                'cache_creation_5m_tokens', toString(size % 20000), 'cache_creation_1h_tokens', '0',
                'cost_usd_micros', toString(1000 + x % 90000), 'cost_usd', toString((1000 + x % 90000) / 1000000),
                'duration_ms', toString(1000 + size), 'ttft_ms', toString(300 + size % 3000), 'request_id', request,
                'speed', 'normal', 'effort', 'medium',
                'query_source', if(x % 20 = 0, 'agent:builtin:general-purpose', 'repl_main_thread')),
            event = 'tool_result', mapConcat(
                map(
                    'tool_name', tool_name, 'tool_use_id', tool, 'request_id', request, 'duration_ms', toString(size),
                    'tool_input_size_bytes', toString(40 + x % 3000), 'tool_result_size_bytes', toString(size % 20000)),
                if(x % 17 = 0, map('success', 'false', 'error_type', 'ShellError'), map('success', 'true'))),
            event = 'tool_decision', map(
                'tool_name', tool_name, 'tool_use_id', tool, 'request_id', request, 'tool_source', 'builtin',
                'permission_mode', 'acceptEdits', 'decision', if(x % 40 = 0, 'reject', 'accept'),
                'source', multiIf(x % 40 = 0, 'user_reject', x % 10 = 0, 'user_temporary', 'config')),
            event = 'assistant_response', map(
                'response_length', toString(size), 'request_id', request, 'model', model,
                'query_source', 'repl_main_thread'),
            event = 'user_prompt', map('prompt_length', toString(size)),
            event = 'api_error', map(
                'model', model, 'error', concat('Overloaded: module m', toString(x % 50), ' answers after [n] s'),
                'status_code', ['429', '529', '500', '400'][x % 4 + 1], 'duration_ms', toString(size),
                'attempt', toString(1 + x % 10), 'request_id', request, 'speed', 'normal', 'effort', 'medium',
                'query_source', 'repl_main_thread'),
            event = 'hook_execution_complete', map(
                'hook_event', 'PostToolUse', 'hook_name', 'PostToolUse:Bash', 'num_hooks', '1', 'num_success', '1',
                'num_blocking', '0', 'num_non_blocking_error', '0', 'num_cancelled', '0',
                'total_duration_ms', toString(size), 'stdout_chars', '0', 'additional_context_chars', '0',
                'system_message_chars', '0', 'initial_user_message_chars', '0', 'num_outputs_persisted', '0',
                'managed_only', 'false', 'hook_source', 'merged', 'safe_mode', 'false'),
            event = 'plugin_loaded', map(
                'plugin.name', concat('cc-plugin-', toString(i)), 'marketplace.name', 'builtin',
                'plugin.scope', 'default-bundle', 'enabled_via', 'default-enable',
                'plugin_id_hash', lower(hex(sipHash64(i))), 'has_hooks', 'true', 'has_mcp', 'false',
                'host_owned_mcp', 'false', 'skill_path_count', '0', 'command_path_count', '0',
                'agent_path_count', '0', 'safe_mode', 'false'),
            map(
                'managed_settings.trigger', 'startup', 'managed_settings.sources', '[]',
                'managed_settings.source_behavior', 'first-wins', 'managed_settings.helper.state', 'none',
                'managed_settings.helper.applied', 'none')))
FROM numbers_mt({sessions:UInt64} * 100)
SETTINGS max_insert_threads = 2
