package nginxconf

import "strings"

// silent are directives without a counterpart that nobody misses: fserve does it by itself, or has
// nothing that it would be about.
var silent = strings.Fields(`
	user load_module daemon master_process worker_priority worker_rlimit_nofile worker_rlimit_core worker_connections
	pcre_jit env thread_pool timer_resolution lock_file multi_accept use accept_mutex debug_points working_directory
	sendfile sendfile_max_chunk tcp_nopush tcp_nodelay aio aio_write directio directio_alignment output_buffers read_ahead postpone_output
	send_lowat keepalive_requests keepalive_time keepalive_disable reset_timedout_connection lingering_close lingering_time lingering_timeout
	open_file_cache open_file_cache_valid open_file_cache_min_uses open_file_cache_errors etag if_modified_since merge_slashes
	types_hash_max_size types_hash_bucket_size server_names_hash_bucket_size server_names_hash_max_size
	variables_hash_max_size variables_hash_bucket_size map_hash_max_size map_hash_bucket_size
	client_max_body_size client_body_buffer_size client_header_buffer_size large_client_header_buffers request_pool_size connection_pool_size
	client_body_temp_path client_body_in_file_only proxy_temp_path fastcgi_temp_path uwsgi_temp_path scgi_temp_path
	autoindex_exact_size autoindex_localtime autoindex_format log_not_found log_subrequest recursive_error_pages msie_padding msie_refresh
	absolute_redirect port_in_redirect server_name_in_redirect real_ip_recursive override_charset charset_types source_charset
	gzip_vary gunzip gzip_buffers gzip_disable gzip_http_version gzip_proxied
	brotli_types brotli_comp_level brotli_min_length brotli_buffers
	ssl ssl_prefer_server_ciphers ssl_session_cache ssl_session_timeout ssl_session_tickets ssl_session_ticket_key ssl_dhparam ssl_ecdh_curve
	ssl_stapling ssl_stapling_verify ssl_trusted_certificate ssl_buffer_size ssl_early_data ssl_conf_command
	resolver resolver_timeout http3 http3_hq quic_retry ssi ssi_types
	limit_req_status limit_conn_status limit_req_log_level limit_conn_log_level`)

// reasons say why a directive has no effect, by its name or what that begins with.
var reasons = []struct{ name, why string }{
	{"proxy_", "fserve is no proxy"}, {"fastcgi_", "fserve runs no programs"}, {"uwsgi_", "fserve runs no programs"},
	{"scgi_", "fserve runs no programs"}, {"grpc_", "fserve is no proxy"}, {"memcached_", "fserve is no proxy"},
	{"upstream", "fserve is no proxy"}, {"auth_request", "embed it: README, Embedding"}, {"auth_jwt", "embed it: README, Embedding"},
	{"secure_link", "signed links have keys: fserve sign"}, {"map", "there are no variables"}, {"geo", "there are no variables"},
	{"set", "there are no variables"}, {"split_clients", "there are no variables"},
	{"brotli", "Zstandard and gzip are made on the fly, compress: brotli_static sends f.br beside f"}, {"limit_req", "admission bounds requests: docs/admission.md"},
	{"limit_conn", "max_client_connections is one number for the whole server"}, {"sub_filter", "contents are sent as they are"},
	{"add_before_body", "contents are sent as they are"}, {"add_after_body", "contents are sent as they are"}, {"mirror", "fserve is no proxy"},
	{"stub_status", "admin: /metrics has the numbers"}, {"dav_", "files are not written"}, {"mp4", "files are sent as they are"}, {"flv", "files are sent as they are"},
	{"internal", "there are no internal requests"},
}

func whyNot(name string) string {
	for _, r := range reasons {
		if strings.HasPrefix(name, r.name) {
			return r.why
		}
	}
	return "fserve has nothing like it"
}
