"""What was broken on purpose. After every fault: no committed block is lost, none is there twice, none is wrong, and one
more run finishes the job. Each line: fault | promise | where it is tested. `test_list` holds this list to the tests.

kill -9 of two workers and a housekeeper | the store of an unbroken run | faults/test_kills.py::test_two_workers_that_are_killed_make_the_store_of_an_unbroken_run
kill -9, a hundred times and more | the same | faults/test_kills.py::test_a_hundred_kills
kill -9 between write, fsync, rename, removal | all or nothing, also while parts are merged | faults/test_kills.py::test_a_kill_between_any_two_steps
kill -9 at all of these moments | the same | faults/test_kills.py::test_a_kill_between_any_two_steps_all_of_them
kill -9 of two ingests | every file whole, downloads resumed | faults/test_kills.py::test_ingests_that_are_killed_end_with_the_right_files
kill -9 of two ingests, often | the same | faults/test_kills.py::test_ingests_that_are_killed_often
kill -9 of a writer | what it had told is there | storage/test_features_writers.py::test_kill_9_loses_and_halves_nothing
kill -9 of a fit | ends with the numbers of an unbroken one | models/test_fit.py::test_a_fit_that_the_system_kills_ends_with_the_same_numbers
kill -9 of a download | resumed | pipeline/test_download.py::test_a_process_that_was_killed_is_continued
full disk under an extraction | says so, goes on when there is room | faults/test_space.py::test_an_extraction_on_a_full_disk_goes_on_when_there_is_room
full disk in the middle of a shard | no harm, no crash | storage/test_features_writers.py::test_a_full_disk_harms_nothing
full disk in the middle of a table part | the table stays as it was | faults/test_space.py::test_a_table_on_a_full_disk
full disk in the middle of a download | transient, resumed | faults/test_space.py::test_a_download_on_a_full_disk_goes_on_when_there_is_room
full disk under a fit | goes on from the last whole checkpoint | faults/test_space.py::test_a_fit_on_a_full_disk_goes_on_with_the_same_numbers
full disk under a command | one message that names it, exit status 1 | faults/test_space.py::test_the_command_says_that_the_disk_is_full
read-only root | can be read, says so when written | faults/test_space.py::test_a_read_only_root_is_read_and_says_so_when_it_is_written
clock set forward and back | what was written last counts | faults/test_clock.py::test_the_part_that_was_written_last_counts
clock set forward under a writer | its temporary stays | faults/test_clock.py::test_the_temporary_of_a_living_writer_outlives_a_jump
clock set wrong after a crash | what the dead left goes | faults/test_clock.py::test_what_the_dead_left_goes_whatever_the_clock_says
network cut, server restarted | downloads resumed, hashes right | faults/test_network.py::test_a_server_that_comes_back_finds_its_clients_where_they_were
network gone for good | transient failures, one more run finishes | faults/test_network.py::test_a_network_that_stays_away_fails_each_video_and_one_more_run_finishes
decoder that crashes, hangs, allocates, is killed | costs its own video only | faults/test_decoding.py::test_a_poisonous_video_costs_only_itself
that poison is in the place of the decoder | else the above shows nothing | faults/test_decoding.py::test_av_is_the_decoder_that_the_poison_replaces
process out of its memory | a crash of the decoder | pipeline/test_child.py::test_memory_is_bounded
process that hangs in C | killed at its limit | pipeline/test_child.py::test_a_hang_in_c_is_killed_at_the_limit
worker killed | its decoding process ends too | pipeline/test_child.py::test_the_child_dies_with_a_parent_that_is_killed
three-hour video | bounded memory | faults/test_decoding.py::test_a_video_of_three_hours_needs_the_memory_of_a_short_one
8K video | refused before it is decoded | faults/test_decoding.py::test_8k_is_refused_before_it_is_decoded
0-byte, one-frame, 1-fps, 240-fps, audio-only, mute, id with ../ | features or a class | faults/test_decoding.py::test_odd_kinds_end_with_features_or_with_a_class
text from outside with control characters, in a terminal | shown, not obeyed | flows/test_cli.py::test_text_from_outside_cannot_drive_the_terminal
title with markup, on the report page | shown, not obeyed | models/test_report.py::test_what_came_from_outside_cannot_act
flipped byte in any region of a shard | named, only its videos are made again | faults/test_damage.py::test_a_flipped_byte_in_any_region_is_named_and_mended
flipped byte in a vector | a fit refuses it | faults/test_damage.py::test_training_refuses_a_flipped_vector
half-written shard | named, mended | faults/test_damage.py::test_a_half_written_shard_put_in_place_is_named_and_mended
half-written table part | named, mended | faults/test_damage.py::test_a_half_written_table_part_is_named_and_mended
part of another spec | refused by name | faults/test_damage.py::test_a_part_of_another_spec_is_refused_until_it_is_moved
empty folders and temporaries of a crash | nothing | faults/test_damage.py::test_empty_folders_and_temporaries_are_nothing
temporary of a dead and of a living writer | swept, left | faults/test_damage.py::test_a_writer_that_was_killed_leaves_what_the_next_one_sweeps
writers of one video, compactions, a reader | one block, one row each | faults/test_together.py::test_writers_of_the_same_videos_beside_compaction_beside_a_reader
two that merge at once | nothing lost or doubled | faults/test_together.py::test_two_that_merge_at_once_lose_and_double_nothing
store merged while it is open | says what to do | faults/test_together.py::test_an_open_store_whose_shards_were_merged_says_what_to_do
Prefect server that does not answer | one message that says what to do | faults/test_server.py::test_a_server_that_does_not_answer_is_one_message
Prefect server killed under a flow | committed work stays, says what to do | faults/test_server.py::test_a_server_that_dies_under_a_flow_costs_nothing_that_was_committed
"""  # noqa: E501
