//! Model files: what is written is read, and whatever else a file holds is an error, never a panic, hang or flood.

use std::io::Write;
use std::path::{Path, PathBuf};
use trm::checkpoint::{Checkpoint, Losses, OptimizerState, Training};
use trm::config::{Gates, NetworkConfig, Precision, TrainingConfig, TrmConfig, Update};
use trm::model::Network;
use trm::ops::{Fixed, Format};
use trm::parallel::Threads;
use trm::tensor::Tensor;
use zip::write::SimpleFileOptions;

fn small_config() -> TrmConfig {
    TrmConfig {
        network: NetworkConfig { hidden_dim: 2, l_layers: 1, output_layers: 1, ..NetworkConfig::default() },
        training: TrainingConfig { ema: 0.9, ..TrainingConfig::default() },
        ..TrmConfig::default()
    }
}

/// A checkpoint with everything in it.
fn full_checkpoint() -> Checkpoint {
    let config = small_config();
    let state = |seed| Network::first_weights(&config.network, seed).state_dict();
    Checkpoint {
        model: state(1),
        optimizer: Some(OptimizerState {
            step: 12_345,
            exp_avg: state(2),
            exp_avg_sq: state(3),
            lr: 1.0 / 3.0,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.01,
        }),
        history: Some(Losses {
            train_losses: vec![2.1, 1.0 / 3.0],
            val_losses: vec![2.2, 0.4],
            val_accuracies: vec![0.1, 0.7],
        }),
        training: Some(Training {
            state_json: r#"{"epoch":2,"π":"\"quoted\""}"#.into(),
            ema: Some(state(4)),
            carry: Some(vec![("z".into(), Tensor { shape: vec![2, 1, 3], data: vec![0.1; 6] })]),
        }),
        config,
    }
}

fn production(checkpoint: Checkpoint) -> Checkpoint {
    Checkpoint { optimizer: None, history: None, training: None, ..checkpoint }
}

fn in_folder(test: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    test(folder.path());
}

const ENDINGS: [&str; 2] = ["pt", "safetensors"];

#[test]
fn both_formats_give_back_every_bit() {
    in_folder(|folder| {
        for ending in ENDINGS {
            for checkpoint in [full_checkpoint(), production(full_checkpoint())] {
                let path = folder.join(format!("model.{ending}"));
                checkpoint.write(&path).unwrap();
                assert_eq!(Checkpoint::read(&path).unwrap(), checkpoint, "{ending}");
            }
        }
    });
}

#[test]
fn what_was_trained_in_7_bits_solves_in_what_the_machine_takes() {
    for (precision, format) in
        [(Precision::Fixed7, Format::fastest()), (Precision::Fixed12, Format::Fixed(Fixed::Twelve))]
    {
        let config =
            TrmConfig { network: NetworkConfig { precision, ..small_config().network }, ..small_config() };
        let model = Network::first_weights(&config.network, config.network.seed).state_dict();
        let checkpoint = Checkpoint { config, model, ..production(full_checkpoint()) };
        assert_eq!(checkpoint.into_model(&Threads::new(1)).format(), format, "{precision:?}");
    }
}

#[test]
fn vector_gates_are_kept_and_fit_no_model_of_scalar_ones() {
    in_folder(|folder| {
        for ending in ENDINGS {
            let path = folder.join(format!("model.{ending}"));
            let config = TrmConfig {
                network: NetworkConfig { gates: Gates::Vector, hidden_dim: 3, ..small_config().network },
                ..small_config()
            };
            let model = Network::first_weights(&config.network, config.network.seed).state_dict();
            let gate = model.iter().find(|(name, _)| name == "output_gate").unwrap();
            assert_eq!(gate.1, Tensor::filled(&[3], 0.1));
            let checkpoint = Checkpoint { config, model, ..production(full_checkpoint()) };
            checkpoint.write(&path).unwrap();
            assert_eq!(Checkpoint::read(&path).unwrap(), checkpoint);
            let scalar = TrmConfig {
                network: NetworkConfig { gates: Gates::Scalar, ..checkpoint.config.network.clone() },
                ..checkpoint.config.clone()
            };
            Checkpoint { config: scalar, ..checkpoint }.write(&path).unwrap();
            let error = Checkpoint::read(&path).unwrap_err().to_string();
            assert!(error.contains("latent_gate has shape [3]; it should be [1]"), "{ending}: {error}");
        }
    });
}

#[test]
fn truncated_files_are_errors() {
    in_folder(|folder| {
        for ending in ENDINGS {
            let path = folder.join(format!("model.{ending}"));
            production(full_checkpoint()).write(&path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            for length in (0..bytes.len()).step_by(97).chain(bytes.len() - 64..bytes.len()) {
                std::fs::write(&path, &bytes[..length]).unwrap();
                assert!(Checkpoint::read(&path).is_err(), "{ending} of {length} bytes");
            }
        }
    });
}

#[test]
fn flipped_bits_are_errors_or_change_nothing() {
    in_folder(|folder| {
        for ending in ENDINGS {
            let path = folder.join(format!("model.{ending}"));
            let checkpoint = full_checkpoint();
            checkpoint.write(&path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let (mut state, mut harmless) = (1u64, 0);
            for _ in 0..1500 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let mut damaged = bytes.clone();
                damaged[(state >> 20) as usize % bytes.len()] ^= 1 << (state >> 60 & 7);
                std::fs::write(&path, &damaged).unwrap();
                if let Ok(read) = Checkpoint::read(&path) {
                    assert_eq!(read, checkpoint, "a flipped bit went unnoticed");
                    harmless += 1;
                }
            }
            // Padding, time stamps and the like; most of a file is content.
            assert!(harmless < 700, "{harmless} of 1500 flips changed nothing");
        }
    });
}

/// A `.pt` file with this pickle and these storages.
fn write_zip(path: &Path, pickle: &[u8], storages: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("archive/data.pkl", options).unwrap();
    zip.write_all(pickle).unwrap();
    for (key, bytes) in storages {
        zip.start_file(format!("archive/data/{key}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// `{"model_state_dict": {"latent_gate": VALUE}}`
fn pickle_with_gate(value: &[u8]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x10\x00\x00\x00model_state_dict}X\x0b\x00\x00\x00latent_gate".to_vec();
    pickle.extend(value);
    pickle.extend(b"ss.");
    pickle
}

/// A float tensor of storage 0 with these sizes, strides and offset, as protocol 2 writes it.
fn tensor(offset: i32, sizes: &[i32], strides: &[i32]) -> Vec<u8> {
    let int = |value: i32| [b"J".as_slice(), &value.to_le_bytes()].concat();
    let tuple = |values: &[i32]| {
        [b"(".to_vec(), values.iter().flat_map(|v| int(*v)).collect(), b"t".to_vec()].concat()
    };
    let storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ\x01\x00\x00\x00tQ";
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec(),
        storage.to_vec(),
        int(offset),
        tuple(sizes),
        tuple(strides),
        b"\x89ccollections\nOrderedDict\n)RtR".to_vec(),
    ]
    .concat()
}

#[test]
fn hostile_pickles_are_errors() {
    let deep: Vec<u8> = [vec![0x80, 2], vec![b']'; 1_000_000], b".".to_vec()].concat();
    // Each list holds the one before ten times: 10^60 elements, if they were copied.
    let mut bomb = b"\x80\x02]q\x00".to_vec();
    for i in 0..60u8 {
        bomb.extend(b"](");
        bomb.extend([b'h', i].repeat(10));
        bomb.extend([b'e', b'q', i + 1]);
    }
    bomb.push(b'.');
    let cyclic = b"\x80\x02}q\x00X\x10\x00\x00\x00model_state_dicth\x00s.".to_vec();
    // One name of a megabyte for a thousand tensors.
    let long = [b"X\x00\x00\x10\x00".to_vec(), vec![b'n'; 1 << 20], b"q\x00".to_vec()].concat();
    let mut names = b"\x80\x02}X\x10\x00\x00\x00model_state_dict}".to_vec();
    names.extend(&long);
    names.push(b'0');
    for _ in 0..1000 {
        names.extend(b"h\x00");
        names.extend(tensor(0, &[1], &[1]));
        names.push(b's');
    }
    names.extend(b"s.");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a long name a thousand times", names, "name has 1048576 bytes"),
        ("a system call", b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00exitR.".to_vec(), "model_state_dict"),
        (
            "a system call as a tensor",
            pickle_with_gate(b"cos\nsystem\nX\x04\x00\x00\x00exit\x85R"),
            "os.system",
        ),
        ("a million lists in lists", deep, "model_state_dict"),
        ("a memo bomb", bomb, "model_state_dict"),
        ("a dict that holds itself", cyclic, "no tensor"),
        ("a text of 4 GB", b"\x80\x02X\xff\xff\xff\xffabc".to_vec(), "too early"),
        ("bytes of 2^63", b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc".to_vec(), "too early"),
        ("an unknown opcode", b"\x80\x02\xff.".to_vec(), "opcode"),
        ("an empty stack", b"\x80\x02R.".to_vec(), "stack"),
        ("a mark that is gone", b"\x80\x02N(0tt.".to_vec(), "mark"),
        ("nothing", Vec::new(), "too early"),
        ("a shape that overflows", pickle_with_gate(&tensor(0, &[i32::MAX; 4], &[0; 4])), "more values"),
        ("a negative stride", pickle_with_gate(&tensor(3, &[2], &[-1])), "make no sense"),
        ("a negative offset", pickle_with_gate(&tensor(-1, &[1], &[1])), "make no sense"),
        ("a view beyond its storage", pickle_with_gate(&tensor(1, &[1], &[1])), "beyond its storage"),
        (
            "a stride that overflows",
            pickle_with_gate(&tensor(i32::MAX, &[2], &[i32::MAX])),
            "beyond its storage",
        ),
        ("no config", pickle_with_gate(&tensor(0, &[1], &[1])), "--set H_cycles=N"),
    ];
    in_folder(|folder| {
        let path = folder.join("hostile.pt");
        for (what, pickle, expected) in cases {
            write_zip(&path, &pickle, &[("0", &1.0f32.to_le_bytes())]);
            let error = Checkpoint::read(&path).expect_err(what).to_string();
            assert!(error.contains(expected), "{what}: {error}");
        }
    });
}

#[test]
fn hostile_archives_are_errors() {
    in_folder(|folder| {
        let path = folder.join("hostile.pt");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Checkpoint::read(&path).unwrap_err().to_string()
        };
        assert!(read(b"").contains("no PyTorch file"));
        assert!(read(b"PK\x03\x04 and nothing more").contains("damaged"));
        assert!(read(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.").contains("too early"));
        write_zip(&path, b"", &[]);
        let mut claims = std::fs::read(&path).unwrap();
        // The central directory's sizes, at 20 and 24 of its entry: four gigabytes each.
        let entry = claims.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
        claims[entry + 20..entry + 28].fill(0xfe);
        assert!(read(&claims).contains("claim"), "an entry larger than the file");

        let path = folder.join("hostile.safetensors");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Checkpoint::read(&path).unwrap_err().to_string()
        };
        assert!(read(&u64::MAX.to_le_bytes()).contains("safetensors"));
        let header = br#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,16],"data_offsets":[0,4]}}"#;
        let with_header = |header: &[u8]| [&(header.len() as u64).to_le_bytes(), header, &[0; 4]].concat();
        assert!(read(&with_header(header)).contains("safetensors"));
        let foreign = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        assert!(read(&with_header(foreign)).contains("no configuration"));
    });
    assert!(
        Checkpoint::read(&PathBuf::from("/nowhere/model.pt")).unwrap_err().to_string().contains("/nowhere")
    );
}

#[test]
fn missing_extra_misshapen_and_broken_tensors_are_named() {
    in_folder(|folder| {
        let mut checkpoint = production(full_checkpoint());
        checkpoint.model.retain(|(name, _)| name != "input_proj.bias");
        checkpoint.model.push(("surplus".into(), Tensor::zeros(&[3])));
        let mut set = |name: &str, tensor: Tensor| {
            checkpoint.model.iter_mut().find(|(n, _)| n == name).unwrap().1 = tensor;
        };
        set("output_proj.bias", Tensor::zeros(&[7]));
        set("output_gate", Tensor::filled(&[1], f32::NAN));
        set("latent_gate", Tensor::zeros(&[]));
        for ending in ENDINGS {
            let path = folder.join(format!("model.{ending}"));
            checkpoint.write(&path).unwrap();
            let error = Checkpoint::read(&path).unwrap_err().to_string();
            for part in [
                "input_proj.bias is missing; its shape should be [2]",
                "surplus [3] is not part of the model",
                "output_proj.bias has shape [7]; it should be [729]",
                "output_gate holds NaN at position 0",
                "latent_gate has shape []: this is a file of a later revision",
            ] {
                assert!(error.contains(part), "{ending}: {part:?} is not in: {error}");
            }
        }
    });
}

#[test]
fn a_failed_write_keeps_the_file_before() {
    in_folder(|folder| {
        let path = folder.join("missing").join("model.pt");
        assert!(full_checkpoint().write(&path).is_err());
        let original = TrmConfig {
            network: NetworkConfig { update: Update::Original, ..small_config().network },
            ..small_config()
        };
        let checkpoint = Checkpoint { config: original, ..production(full_checkpoint()) };
        let path = folder.join("model.pt");
        checkpoint.write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap().config.network.update, Update::Original);
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1, "no temporary file is left");
    });
}
