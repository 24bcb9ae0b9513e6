"""What is promised of inputs that others wrote, and the test of each promise.

By the file of the test in `tests/`; each name begins with `test_`. `test_promises` holds the list against the tests:
each one named is there, and each one of this folder is named.

test_download
    only_listed_schemes_are_asked: fetched are http and https alone
    a_redirect_to_a_file_is_refused: fetched are http and https alone, also behind a redirect
    local_files_can_be_forbidden: local paths can be switched off
    no_way_leads_inside: no address inside is asked: page, redirect, playlist
    which_addresses_are_public: no address inside is asked, which addresses are inside
    an_outside_program_is_not_sent_to_fetch: no address inside is asked, by another program
    a_file_without_end_is_left_at_the_limit: a download ends at its limit of bytes
    secrets_are_sent_and_not_told: outcomes and status tell no secret, nor what is kept beside a media file

test_fetching
    a_playlist_does_not_reach_local_files:
        fetched are http and https alone, also from playlists, their keys and their parts
    a_playlist_does_not_lead_inside: no address inside is asked, parts, keys and variants of playlists and manifests
    what_stands_for_an_inner_address_is_none_of_the_internet:
        no address inside is asked, in the disguise of another kind of address
    an_address_is_known_in_every_spelling: no address inside is asked, in any spelling
    no_spelling_of_this_machine_is_asked: no address inside is asked, in any spelling, by the downloader
    a_name_that_resolves_inside_is_not_asked: no address inside is asked, by a name that resolves inside
    a_proxy_is_not_sent_inside: no address inside is asked, by way of a proxy, as far as the address tells
    the_machine_of_a_proxy_is_no_way_in: no address inside is asked, beside a proxy on the same machine
    a_list_of_files_is_not_merged_as_a_stream: no list in the place of a stream is merged by ffmpeg
    ids_never_become_paths: ids are no paths
    titles_and_names_of_servers_never_become_paths: titles and the servers' names are no paths
    a_page_that_does_not_end_is_left: a page ends at 32 MiB, unpacked
    a_manifest_does_not_expand_without_end: a manifest does not expand, and loads nothing

test_weights
    only_http_is_followed: weights are fetched over http and https alone
    a_wrong_hash_is_refused_naming_both: weights are those whose hash is known

test_media
    a_list_under_the_name_of_a_video_is_not_followed: no list in the place of a video is followed
    behind_the_first_bytes_stands_a_list_of_demuxers:
        no list in the place of a video is followed, also behind the look at the first bytes
    no_decoder_opens_what_was_not_looked_at: no list in the place of a video is followed, by any of the decoders
    frames_are_counted_before_they_are_decoded: frames and seconds are bounded before decoding
    a_length_that_only_the_index_claims_is_bounded:
        frames and seconds are bounded before decoding, also where the index alone claims them
    a_large_picture_is_refused_by_its_header: pixels are bounded before decoding
    a_stream_that_grows_behind_its_header_is_not_decoded:
        pixels are bounded before decoding, also where a stream grows behind its header
    sound_of_a_form_that_nobody_has_is_none: sound is bounded: channels, rate
    hours_of_sound_end_with_the_picture: sound is bounded: channels, rate, and length
    many_streams_are_no_burden: many streams are no burden
    spoilt_files_end_with_frames_or_a_reason: every spoilt media file has frames or a reason

test_pages
    typed_names_are_looked_up_and_not_joined: typed names of runs, stores, recommenders are no paths
    verbs_refuse_names_that_lead_out: typed names of runs, stores, recommenders are no paths, also by the command
    a_highlight_is_cut_out_of_media_of_the_tables_alone: highlights are cut from media of the tables alone
    a_report_of_hostile_texts_is_a_page_of_text: a report is text, whatever it shows
    a_drawing_with_hostile_names_is_a_drawing: a drawing is a drawing, whatever its names
    a_terminal_is_not_driven: a terminal is not driven

test_child
    memory_is_bounded: memory of a decoding process is bounded
    a_hang_in_c_is_killed_at_the_limit: time of a decoding process is bounded

test_files
    claimed_durations_do_not_fill_the_memory: grids of claimed durations fit into memory
    no_code_of_a_checkpoint_is_run: no code of weights and checkpoints is run
    no_code_of_an_array_is_run: no code of arrays and encoders is run
    no_code_of_word_vectors_is_run: no code of word vectors is run
    no_code_of_settings_is_run: no code of settings is run
    a_checkpoint_with_other_sizes_is_named: a checkpoint with other sizes is refused
    an_array_is_as_large_as_its_file: an array is as large as its file
    a_zip_does_not_unpack_without_end: a zip does not unpack without end
    word_vectors_are_bounded: word vectors are bounded
    settings_do_not_grow_without_end: settings do not grow without end
    a_table_does_not_unpack_without_end: a packed table does not unpack without end
    a_parquet_file_says_how_many_rows_it_has: a Parquet file is bounded by its rows
    nested_json_is_a_reject: nested JSON is a reject
    what_is_no_file_is_not_read: devices, pipes and folders are not read

test_secrets
    outcomes_hold_no_secret: outcomes and status tell no secret
    the_last_words_of_a_process_hold_no_secret: outcomes and status tell no secret, nor do the last words of a process
    settings_are_shown_without_the_proxys_password:
        outcomes and status tell no secret, nor settings, shown or in Prefect's database
    errors_of_settings_hold_no_password: outcomes and status tell no secret, nor errors of settings
    children_are_not_told_by_their_command_line: outcomes and status tell no secret, nor command lines of processes
    what_is_a_secret: a secret is known by where it stands
    masked_settings_are_refused: a masked secret is not taken for one

test_report
    the_page_loads_nothing: a report is text, whatever it shows, and loads nothing

test_rows
    spoilt_rows_are_accounted_for: every spoilt row is an event or a reject

test_settings
    spoilt_settings_are_valid_or_refused: every spoilt settings file is valid or refused
"""
